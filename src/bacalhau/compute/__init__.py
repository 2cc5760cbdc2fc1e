"""The compute role: takes work in, carries it out, reports, and survives."""
