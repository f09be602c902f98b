"""A story told with the real parts: `python -m demo`."""

import os

# Read once, when the libraries are imported. All that they need is here already, and what they
# have to say is not about the registry.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
