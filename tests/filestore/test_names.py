"""Names: what is refused, and that nothing refused has been touched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestore import names
from runtime.errors import InvalidArgument, PathRefused

BAD_PATHS = [
    "",
    "/",
    "/etc/passwd",
    "..",
    "../x",
    "a/../b",
    "a/..",
    "./a",
    "a/./b",
    "a//b",
    "a/",
    "a\\..\\b",
    "..\\x",
    "a\x00b",
    "a\nb",
    "a\x7f",
    "a\x85b",
    "a\u2028b",
    "a\ud800",
    "x" * 1025,
    "ü" * 513,
]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_bad_paths_are_refused(path: str) -> None:
    """Traversal, absolute paths, empty parts, backslashes, control characters and long paths are PathRefused."""
    with pytest.raises(PathRefused):
        names.checked_path(path)


@pytest.mark.parametrize(
    "path", ["a", "...", "..a", "a..b/c", ".hidden", "a b", "x" * 1024, "ü" * 512, "字/幕.srt"]
)
def test_good_paths_are_kept_as_they_are(path: str) -> None:
    """What only looks odd is accepted, unchanged."""
    assert names.checked_path(path) == path


@given(st.text(max_size=60))
def test_an_accepted_path_cannot_leave_its_bucket(path: str) -> None:
    """Whatever is accepted has only plain parts."""
    try:
        accepted = names.checked_path(path)
    except PathRefused:
        return
    parts = accepted.split("/")
    assert accepted == path
    assert not {"", ".", ".."} & set(parts)
    assert not any(ord(letter) < 32 for letter in accepted)


@pytest.mark.parametrize("prefix", ["/", "/a", "../", "a/../", "a//", "./", "a\x00", "..", "a/.."])
def test_bad_prefixes_are_refused(prefix: str) -> None:
    """A listing's prefix obeys the same rules as a path."""
    with pytest.raises(PathRefused):
        names.checked_prefix(prefix)


@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/b", "a/.", "task-1/x."])
def test_good_prefixes(prefix: str) -> None:
    """Any beginning of a path, also in the middle of a part, is a prefix."""
    assert names.checked_prefix(prefix) == prefix


def test_a_folder_ends_in_a_slash_and_is_never_the_bucket() -> None:
    """`task-1` and `task-1/` are the same folder; nothing and `/` are refused."""
    assert names.checked_folder("task-1") == names.checked_folder("task-1/") == "task-1/"
    for empty in ("", "/"):
        with pytest.raises(InvalidArgument):
            names.checked_folder(empty)
    with pytest.raises(PathRefused):
        names.checked_folder("..")


@pytest.mark.parametrize(
    "bucket", ["", "ab", "A-bucket", "a_b", "a..b", "-ab", "ab-", "1.2.3.4", "x" * 64, "a/b", "ab\n"]
)
def test_bad_buckets(bucket: str) -> None:
    """What some S3 would refuse is refused here, with a pointer to the field."""
    with pytest.raises(InvalidArgument) as caught:
        names.checked_bucket(bucket)
    assert caught.value.fields[0].pointer == "/bucket"


@pytest.mark.parametrize(
    ("path", "given_type", "expected"),
    [
        ("a.mp4", "", "video/mp4"),
        ("a.srt", "", "application/x-subrip"),
        ("a.unknown", "", "application/octet-stream"),
        ("a.mp4", "text/plain; charset=utf-8", "text/plain; charset=utf-8"),
    ],
)
def test_content_types(path: str, given_type: str, expected: str) -> None:
    """The writer's type wins, then the name's, then octets."""
    assert names.content_type_of(path, given_type) == expected


@pytest.mark.parametrize("bad", ["video", "a/b\r\nX-Evil: 1", "a b/c", "/", "a/b;\n"])
def test_bad_content_types(bad: str) -> None:
    """A type that could break a header is refused."""
    with pytest.raises(InvalidArgument):
        names.content_type_of("a", bad)


def test_checksums() -> None:
    """Hex in any case or nothing; all else is refused."""
    assert names.checked_sha256("") == ""
    assert names.checked_sha256("AB" * 32) == "ab" * 32
    for bad in ("ab", "g" * 64, "a" * 65):
        with pytest.raises(InvalidArgument):
            names.checked_sha256(bad)
