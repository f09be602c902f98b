"""The staging area in S3: presigned upload requests, and reading the uploaded bytes."""

import base64
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from app.storage.s3_client import (
    ABSENT,
    S3Account,
    chunks_of,
    client_of,
    error_code,
    pages_of,
    store_call,
    store_errors,
)
from app.storage.s3_deadlines import WRITES, watched
from app.storage.staging import PART_BYTES, PresignedRequest, StagedUpload

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CompletedPartTypeDef

_NO_UPLOAD = {"NoSuchUpload", "404", "NotFound"}
_CHECKSUM: Final = "x-amz-checksum-sha256"


class S3Staging:
    """Uploads in progress in the registry's bucket. Thread-safe; make one per process."""

    def __init__(self, account: S3Account) -> None:
        self._bucket = account.bucket
        self._client = client_of(account, account.endpoint_url)
        public = account.public_endpoint_url
        self._signer = self._client if public is None else client_of(account, public)
        self._url_signer = client_of(account, public or account.endpoint_url)
        self._url_signer.meta.events.register("before-sign.s3.PutObject", _move_checksum_to_url)

    def begin(self, key: str) -> str:
        with store_call("begin an upload", bulkhead=WRITES):
            begun = self._client.create_multipart_upload(Bucket=self._bucket, Key=key)
            return begun["UploadId"]

    def presigned_put(
        self, key: str, *, sha256: str, size_bytes: int, lifetime_s: int, in_url: bool = False
    ) -> PresignedRequest:
        raw = bytes.fromhex(sha256.removeprefix("sha256:"))
        checksum = base64.b64encode(raw).decode()
        url = (self._url_signer if in_url else self._signer).generate_presigned_url(
            "put_object",
            Params={
                "Bucket": self._bucket,
                "Key": key,
                "ContentLength": size_bytes,
                "ChecksumSHA256": checksum,
            },
            ExpiresIn=lifetime_s,
        )
        headers = {"Content-Length": str(size_bytes)}
        return PresignedRequest(
            "PUT", url, headers if in_url else headers | {_CHECKSUM: checksum}, size_bytes
        )

    def presigned_parts(
        self, key: str, multipart_id: str, *, size_bytes: int, lifetime_s: int
    ) -> Sequence[PresignedRequest]:
        requests = []
        for number, start in zip(count(1), range(0, size_bytes, PART_BYTES), strict=False):
            length = min(PART_BYTES, size_bytes - start)
            parameters = {
                "Bucket": self._bucket,
                "Key": key,
                "UploadId": multipart_id,
                "PartNumber": number,
                "ContentLength": length,
            }
            url = self._signer.generate_presigned_url(
                "upload_part", Params=parameters, ExpiresIn=lifetime_s
            )
            headers = {"Content-Length": str(length)}
            requests.append(PresignedRequest("PUT", url, headers, length))
        return requests

    def finish(self, key: str, multipart_id: str) -> None:
        with store_call("finish an upload", bulkhead=WRITES):
            try:
                parts = self._parts(key, multipart_id)
                if parts:
                    self._client.complete_multipart_upload(
                        Bucket=self._bucket,
                        Key=key,
                        UploadId=multipart_id,
                        MultipartUpload={"Parts": parts},
                    )
            except ClientError as error:
                if error_code(error) not in _NO_UPLOAD:
                    raise

    def _parts(self, key: str, multipart_id: str) -> "list[CompletedPartTypeDef]":
        pages = self._client.get_paginator("list_parts").paginate(
            Bucket=self._bucket, Key=key, UploadId=multipart_id
        )
        return [
            {"PartNumber": part["PartNumber"], "ETag": part["ETag"]}
            for page in pages
            for part in page.get("Parts", [])
        ]

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes] | None]:
        with watched() as deadline:
            with store_errors("read an upload"), deadline.running():
                try:
                    found = self._client.get_object(Bucket=self._bucket, Key=key)
                except ClientError as error:
                    if error_code(error) not in ABSENT:
                        raise
                    found = None
            if found is None:
                yield None
                return
            with closing(found["Body"]) as body:
                yield chunks_of(body, deadline)

    def discard(self, key: str, multipart_id: str | None) -> None:
        if multipart_id is not None:
            with store_call("end an upload", bulkhead=WRITES):
                try:
                    self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=key, UploadId=multipart_id
                    )
                except ClientError as error:
                    if error_code(error) not in _NO_UPLOAD:
                        raise
        with store_call("remove an upload", bulkhead=WRITES):
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def leftovers(self, prefix: str) -> Iterator[StagedUpload]:
        files = self._client.get_paginator("list_objects_v2")
        for page in pages_of(files.paginate(Bucket=self._bucket, Prefix=prefix)):
            for found in page.get("Contents", []):
                yield StagedUpload(found["Key"], None, found["LastModified"])
        in_parts = self._client.get_paginator("list_multipart_uploads")
        for begun in pages_of(in_parts.paginate(Bucket=self._bucket, Prefix=prefix)):
            for each in begun.get("Uploads", []):
                yield StagedUpload(each["Key"], each["UploadId"], each["Initiated"])


def _move_checksum_to_url(request: Any, **_: object) -> None:  # noqa: ANN401 - botocore's own
    """Let the signature cover the checksum as a parameter, which S3 takes for the header."""
    checksum = request.headers[_CHECKSUM]
    del request.headers[_CHECKSUM]
    request.params = (request.params or {}) | {_CHECKSUM: checksum}
