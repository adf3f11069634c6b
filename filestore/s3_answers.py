"""What S3's XML says, as plain values; unknown elements are ignored, missing ones have defaults."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

from minio.xml import findall, findtext, unmarshal

_CODE = re.compile(r"[A-Za-z0-9._-]{1,64}")


_NEVER = datetime.fromtimestamp(0, UTC)


def _time(text: str | None) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC) if text else _NEVER


@dataclass(frozen=True)
class S3Fault:
    """An error document."""

    code: str

    @classmethod
    def of(cls, document: bytes) -> S3Fault:
        """Read the document; what is not one (a proxy's page, an empty body of HEAD) has no code."""
        try:
            return unmarshal(cls, document.decode(errors="replace")) if document else cls("")
        except ParseError:
            return cls("")

    @classmethod
    def fromxml(cls, element: Element) -> S3Fault:
        """Read the element."""
        code = findtext(element, "Code") or ""
        return cls(code if _CODE.fullmatch(code) else "")


@dataclass(frozen=True)
class S3Object:
    """One object of a listing."""

    key: str
    size_bytes: int
    etag: str
    update_time: datetime


@dataclass(frozen=True)
class S3Page:
    """One page of ListObjectsV2 with URL-encoded keys."""

    objects: tuple[S3Object, ...]
    prefixes: tuple[str, ...]
    next_token: str

    @classmethod
    def fromxml(cls, element: Element) -> S3Page:
        """Read the element."""
        objects = tuple(
            S3Object(
                unquote(findtext(each, "Key") or ""),
                int(findtext(each, "Size") or 0),
                (findtext(each, "ETag") or "").strip('"'),
                _time(findtext(each, "LastModified")),
            )
            for each in findall(element, "Contents")
        )
        prefixes = tuple(
            unquote(findtext(each, "Prefix") or "") for each in findall(element, "CommonPrefixes")
        )
        truncated = findtext(element, "IsTruncated") == "true"
        return cls(objects, prefixes, (findtext(element, "NextContinuationToken") or "") if truncated else "")


@dataclass(frozen=True)
class S3Upload:
    """A multipart upload that has begun."""

    upload_id: str
    key: str = ""
    begin_time: datetime = _NEVER

    @classmethod
    def fromxml(cls, element: Element) -> S3Upload:
        """Read the answer to CreateMultipartUpload, or one upload of a listing."""
        return cls(
            findtext(element, "UploadId", strict=True) or "",
            unquote(findtext(element, "Key") or ""),
            _time(findtext(element, "Initiated")),
        )


@dataclass(frozen=True)
class S3Uploads:
    """One page of ListMultipartUploads with URL-encoded keys."""

    uploads: tuple[S3Upload, ...]
    next_key: str
    next_upload_id: str
    truncated: bool

    @classmethod
    def fromxml(cls, element: Element) -> S3Uploads:
        """Read the element."""
        return cls(
            tuple(S3Upload.fromxml(each) for each in findall(element, "Upload")),
            unquote(findtext(element, "NextKeyMarker") or ""),
            findtext(element, "NextUploadIdMarker") or "",
            findtext(element, "IsTruncated") == "true",
        )


@dataclass(frozen=True)
class S3Tags:
    """The tags of an object."""

    values: dict[str, str]

    @classmethod
    def fromxml(cls, element: Element) -> S3Tags:
        """Read the element."""
        tags = findall(element, "TagSet/Tag")
        return cls({findtext(tag, "Key") or "": findtext(tag, "Value") or "" for tag in tags})


@dataclass(frozen=True)
class S3Deleted:
    """The answer to DeleteObjects in quiet mode: only what could not be deleted."""

    failed_keys: tuple[str, ...]

    @classmethod
    def fromxml(cls, element: Element) -> S3Deleted:
        """Read the element."""
        return cls(tuple(findtext(each, "Key") or "" for each in findall(element, "Error")))


def tagging(tags: dict[str, str]) -> bytes:
    """Return the body of PutObjectTagging."""
    inner = "".join(
        f"<Tag><Key>{escape(key)}</Key><Value>{escape(value)}</Value></Tag>" for key, value in tags.items()
    )
    return f"<Tagging><TagSet>{inner}</TagSet></Tagging>".encode()


def deletion(keys: list[str]) -> bytes:
    """Return the body of DeleteObjects."""
    inner = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
    return f"<Delete><Quiet>true</Quiet>{inner}</Delete>".encode()


def completion(etags: list[str]) -> bytes:
    """Return the body of CompleteMultipartUpload for parts 1 to n."""
    inner = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag></Part>"
        for number, etag in enumerate(etags, 1)
    )
    return f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()
