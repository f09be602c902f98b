"""Use cases on proof: checkpoints, replay of decisions, recheck of samples."""
