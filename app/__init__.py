"""The governed registry for prefix-tuning artifacts: the server."""

__version__ = "0.1.0"
