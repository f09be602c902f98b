"""Rules on files: safetensors headers, adapter configurations, geometry, manifests."""
