"""The use cases: one function for each action of a caller. Each function owns its transaction."""
