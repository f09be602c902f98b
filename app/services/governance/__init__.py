"""Use cases for release: policies, channels, the gate, promotions and reviews."""
