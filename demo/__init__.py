"""A story told with the real parts: `python -m demo`."""

import os

# The libraries read these when they are imported. They need nothing from the network, and their
# messages are not about the registry.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
