"""A story told with the real parts: `python -m demo`."""
