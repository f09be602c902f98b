"""Use cases for verification: checkpoints, replay of decisions, recheck of samples."""
