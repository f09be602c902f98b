"""The canary: a small object that shows whether a store does what the registry relies on."""

import base64
import hashlib
import logging
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from app.domain.errors import UnavailableError
from app.storage.s3_client import store_call
from app.storage.s3_deadlines import PROBES

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

KEY: Final = "canary"
"""Reserved for this object, which stays; nothing else is read from or written to it."""

_log = logging.getLogger(__name__)
_CONTENT: Final = b"The registry writes this object to find out what the store checks."
_STEP_S: Final = 3.0
_REFUSED: Final = range(400, 500)
_DENIED: Final = 403
_NOT_IMPLEMENTED: Final = 501


class Canary:
    """Asks a store once per process, and again only at a probe while it lacks something."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._lock = Lock()
        self._lacking: tuple[str, ...] | None = None

    def require_suitable(self, *, asks_again: bool = False) -> None:
        """Ask the store unless it has answered; with `asks_again`, also if it lacked something.

        Raises:
            UnavailableError: It is unreachable, or lacks something, which the error names as
                `lacking`.
        """
        with self._lock:
            if self._lacking is None or (asks_again and self._lacking):
                found = tuple(self._ask())
                if found and found != self._lacking:
                    _log.error("%s", _sentence(found))
                self._lacking = found
            if self._lacking:
                raise UnavailableError(_sentence(self._lacking), lacking=list(self._lacking))

    def _ask(self) -> list[str]:
        checksum = _checksum(_CONTENT)
        with store_call("store the canary", _STEP_S, PROBES):
            self._client.put_object(
                Bucket=self._bucket, Key=KEY, Body=_CONTENT, ChecksumSHA256=checksum
            )
        lacking = []
        if not self._refuses("IfNoneMatch", "*", checksum):
            lacking.append("it overwrites an object despite `If-None-Match: *`")
        if not self._refuses("ChecksumSHA256", _checksum(b"other bytes"), checksum):
            lacking.append("it does not verify `x-amz-checksum-sha256`")
        return lacking

    def _refuses(self, name: str, value: str, checksum: str) -> bool:
        """Whether the store refuses the canary with a parameter that must make it refuse."""
        parameters: dict[str, Any] = {"ChecksumSHA256": checksum} | {name: value}
        with store_call("check the canary", _STEP_S, PROBES):
            try:
                self._client.put_object(Bucket=self._bucket, Key=KEY, Body=_CONTENT, **parameters)
            except ClientError as error:
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                if status in _REFUSED and status != _DENIED:
                    return True
                if status == _NOT_IMPLEMENTED:
                    return False
                raise
        return False


def _checksum(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def _sentence(lacking: tuple[str, ...]) -> str:
    return (
        f"The object store is not suitable: {' and '.join(lacking)}. Nothing is stored in it; use "
        "one that does both, such as Amazon S3, MinIO or SeaweedFS."
    )
