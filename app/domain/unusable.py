"""What whoever starts the registry has to put right before it can run."""


class UnusableError(Exception):
    """What is needed is not there, or cannot be used.

    The message is one sentence for whoever started the program: what, why, and what would work.
    """
