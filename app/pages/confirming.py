"""What somebody must type before the glass breaks."""

from typing import Final

from app.domain.errors import Fault, InvalidRequestError
from app.domain.lifecycle import SHORTEST_EXCUSE

_WORDS: Final = "break glass"


def require_confirmed(reason: str, confirmation: str) -> None:
    """Raise InvalidRequestError unless it was confirmed, with a reason that says something."""
    if confirmation.strip() != _WORDS:
        raise missing("confirmation", f"Type `{_WORDS}` to confirm that you mean it.")
    if len(reason.strip()) < SHORTEST_EXCUSE:
        message = f"A reason of {SHORTEST_EXCUSE} characters or more is kept for ever."
        raise missing("reason", message)


def missing(field: str, message: str) -> InvalidRequestError:
    return InvalidRequestError(message, [Fault(f"{field}-missing", message)])
