"""What the registry costs, beside its limits, measured in one run."""
