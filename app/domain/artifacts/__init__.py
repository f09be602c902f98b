"""Rules on artifacts: safetensors headers, adapter configurations, geometry, manifests."""
