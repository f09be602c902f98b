"""The use cases: one function per thing a caller can do; each owns its transaction."""
