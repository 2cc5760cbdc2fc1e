"""Bacalhau for Python: send the computation to where the data lies."""

__version__ = "0.1.0"
