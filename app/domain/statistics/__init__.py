"""The statistics of the gate: exact tests, bounds and sample plans, in pure Python."""
