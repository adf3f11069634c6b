"""Range headers, as RFC 9110 §14 reads them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.conditions import matches
from gateway.http.range_header import (
    ByteRange,
    content_disposition,
    content_range,
    http_date,
    parse_http_date,
    parse_range,
    strong_etag,
)

TABLE = [
    ("bytes=0-0", ByteRange(0, 1)),
    ("bytes=0-99", ByteRange(0, 100)),
    ("bytes=100-", ByteRange(100, 0)),
    ("bytes=-100", ByteRange(-100, 0)),
    ("Bytes= 5-9", ByteRange(5, 5)),
    ("bytes=-0", ByteRange(0, 0, empty=True)),
    (None, None),
    ("", None),
    ("bytes=", None),
    ("bytes=-", None),
    ("bytes=9-5", None),
    ("bytes=0-1,5-9", None),
    ("bytes=a-b", None),
    ("bytes=0x1-5", None),
    ("bytes=²-5", None),
    ("items=0-5", None),
    ("bytes=1-" + "9" * 30, None),
]


@pytest.mark.parametrize(("header", "expected"), TABLE)
def test_one_range_or_none(header: str | None, expected: ByteRange | None) -> None:
    """One well-formed range is read; what is not understood means the whole file."""
    assert parse_range(header) == expected


@given(first=st.integers(0, 10**17), length=st.integers(1, 10**17))
def test_what_we_say_we_send_is_what_was_asked(first: int, length: int) -> None:
    """Content-Range names the same bytes as the Range that asked for them."""
    wanted = parse_range(f"bytes={first}-{first + length - 1}")
    assert wanted == ByteRange(first, length)
    assert content_range(first, length, 10**18) == f"bytes {first}-{first + length - 1}/{10**18}"


def test_etags_and_dates() -> None:
    """Weak tags never match If-Range; If-None-Match compares weakly; dates go both ways."""
    assert strong_etag('"a"') == "a"
    assert strong_etag('W/"a"') is None
    assert strong_etag("Tue, 14 Nov 2023 22:13:20 GMT") is None
    assert matches('"x", W/"a"', '"a"') and matches("*", '"a"') and not matches('"b"', '"a"')
    moment = datetime(2023, 11, 14, 22, 13, 20, 5, tzinfo=UTC)
    assert http_date(moment) == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert parse_http_date(http_date(moment)) == moment.replace(microsecond=0)
    assert parse_http_date("yesterday") is None


@given(name=st.text(max_size=50))
def test_no_file_name_breaks_its_header(name: str) -> None:
    """Whatever a file is called, the header is one line of ASCII and the quoted part stays quoted."""
    header = content_disposition(name)
    assert header.isascii() and "\r" not in header and "\n" not in header
    assert header.count('"') == 2 and header.startswith('attachment; filename="')


def test_file_names_of_any_alphabet() -> None:
    """RFC 8187: the real name goes percent-encoded beside a plain one."""
    assert (
        content_disposition('字"幕.srt')
        == "attachment; filename=\"___.srt\"; filename*=UTF-8''%E5%AD%97%22%E5%B9%95.srt"
    )
