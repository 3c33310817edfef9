"""Faults against the whole system, and whether everything equals SQL over the log afterwards: `make chaos`."""
