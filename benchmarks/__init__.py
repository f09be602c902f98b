"""Benchmarks: the costs of the registry and its limits, measured in one run."""
