"""What resolving answers: one document, whether the database or memory was asked."""

from datetime import datetime, timedelta

from app.api.fields import Out
from app.deps import Parts
from app.domain.serving import ServedChannel, ServedVersion


class ResolvedFileOut(Out):
    name: str
    sha256: str
    size_bytes: int
    url: str


class ResolutionOut(Out):
    prefix: str
    channel: str
    generation: int
    version: int
    weight: int
    digest: str
    revision: str
    base_model: str
    files: list[ResolvedFileOut]
    expires_at: datetime


def document(
    parts: Parts, channel: ServedChannel, version: ServedVersion, now: datetime
) -> ResolutionOut:
    """Return the answer that `version` serves, with URLs signed now."""
    lifetime_s = parts.limits.presigned_lifetime_s
    return ResolutionOut(
        prefix=str(channel.prefix),
        channel=channel.name,
        generation=channel.generation,
        version=version.number,
        weight=version.weight,
        digest=version.digest,
        revision=version.revision,
        base_model=version.base_model,
        files=[
            ResolvedFileOut(
                name=file.name,
                sha256=file.sha256,
                size_bytes=file.size_bytes,
                url=parts.blobs.presigned_url(
                    file.sha256, file_name=file.name, lifetime_s=lifetime_s
                ),
            )
            for file in version.files
        ],
        expires_at=now + timedelta(seconds=lifetime_s),
    )


def headers_of(channel: ServedChannel, version: ServedVersion) -> dict[str, str]:
    return {
        "ETag": f'"{channel.generation}-{version.revision}"',
        "Cache-Control": "private, no-cache",
    }
