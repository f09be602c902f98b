"""What somebody must type before something happens that stays."""

from typing import Final

from app.domain.errors import Fault, InvalidRequestError

BREAK_GLASS: Final = "break glass"


def require_typed(words: str, typed: str, why: str) -> None:
    """Raise InvalidRequestError unless `words` were typed; `why` ends the sentence that asks."""
    if typed.strip() != words:
        raise missing("confirmation", f"Type `{words}` to confirm{why}")


def missing(field: str, message: str) -> InvalidRequestError:
    return InvalidRequestError(message, [Fault(f"{field}-missing", message)])
