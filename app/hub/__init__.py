"""The Hugging Face dialect: the same use cases in the protocol of huggingface_hub clients."""
