"""Reading the lines of a received file, plain or gzip, in bounded memory."""

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Final, cast

from app.domain.errors import Fault, FaultyError
from app.domain.evidence.reports import refused

GZIP: Final = b"\x1f\x8b"
_EXPANDED_LIMIT_BYTES: Final = 4 << 30
_RATIO_LIMIT: Final = 200
_SMALL_BYTES: Final = 1 << 20  # up to this size, any compression ratio is fine


def is_gzip(content: BinaryIO) -> bool:
    content.seek(0)
    return content.read(len(GZIP)) == GZIP


def lines_of(
    content: BinaryIO,
    *,
    limit_bytes: int,
    refuse: Callable[[Sequence[Fault]], FaultyError] = refused,
) -> Iterator[bytes]:
    """Yield the lines of a file; a line above the limit comes in pieces of `limit_bytes` + 1.

    Raises:
        FaultyError: The gzip data is corrupt, or expands beyond the limit or, after the first MiB,
            to more than 200 times its size; `refuse` makes the error, by default an
            InvalidEvaluationError.
    """
    packed = is_gzip(content)
    content.seek(0)
    file = cast("BinaryIO", gzip.GzipFile(fileobj=content, mode="rb")) if packed else content
    expanded = 0
    try:
        while line := file.readline(limit_bytes + 1):
            expanded += len(line)
            if expanded > _EXPANDED_LIMIT_BYTES:
                message = f"The file expands to more than {_EXPANDED_LIMIT_BYTES} bytes."
                raise refuse([Fault("too-large", message)])
            if packed and expanded > max(_SMALL_BYTES, _RATIO_LIMIT * content.tell()):
                message = (
                    f"The file expands to more than {_RATIO_LIMIT} times its size as gzip; send it "
                    "without compression."
                )
                raise refuse([Fault("too-compressed", message)])
            yield line
    except (OSError, EOFError, zlib.error) as error:
        message = "The file begins as gzip but cannot be unpacked."
        raise refuse([Fault("not-gzip", message)]) from error
