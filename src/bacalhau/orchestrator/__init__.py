"""The orchestrator role: admits jobs, schedules them, tells nodes, hears reports."""
