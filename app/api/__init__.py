"""The JSON API: one router per concept, with its request and response models."""
