"""Use cases on release: policies, channels, gate, promotions, reviews."""
