"""The Hugging Face edge: the same use cases in the words of huggingface_hub's clients."""
