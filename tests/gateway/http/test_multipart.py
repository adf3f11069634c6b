"""FormReader: the same content whatever the pieces, bounded memory, and no tolerance for malformed bodies."""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http.multipart import MAX_PARTS, FormReader, Part, boundary_of
from gateway.v1.upload_form import UploadForm
from runtime.errors import InvalidArgument

BOUNDARY = b"xYzZY"


def feed(pieces: Iterable[bytes]) -> Callable[[], Awaitable[bytes]]:
    """Return a read function over pieces."""
    left = iter([piece for piece in pieces if piece])

    async def read() -> bytes:
        return next(left, b"")

    return read


def part(name: str, content: bytes, extra: str = "") -> bytes:
    """Write one part."""
    head = f'--xYzZY\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
    return head.encode() + content + b"\r\n"


END = b"--xYzZY--\r\n"


async def read_all(pieces: Iterable[bytes]) -> list[tuple[Part, bytes]]:
    """Read every part of a body."""
    reader = FormReader(feed(pieces), BOUNDARY)
    found = []
    while (one := await reader.next_part()) is not None:
        found.append((one, b"".join([bytes(piece) async for piece in reader.content()])))
    return found


def cut(body: bytes, places: list[int]) -> list[bytes]:
    """Cut a body at some places."""
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[a:b] for a, b in itertools.pairwise(edges)]


_NASTY = st.sampled_from(
    [
        b"\r\n--xYzZ",
        b"\r\n--xYzZy",
        b"\r\n",
        b"--xYzZY",
        b"\n--xYzZY\r\n",
        b"\r",
        b"\r\n-",
        b"\r\r\n--",
        b"\0",
        b"a",
    ]
)
CONTENT = st.lists(st.one_of(_NASTY, st.binary(max_size=40)), max_size=8).map(b"".join)


@settings(deadline=None, max_examples=300)
@given(content=CONTENT, after=CONTENT, places=st.lists(st.integers(0, 10_000), max_size=30))
async def test_content_survives_any_cut(content: bytes, after: bytes, places: list[int]) -> None:
    """Whatever the content, and wherever the network cuts it, the same parts come out."""
    if b"\r\n--xYzZY" in b"\r\n" + content or b"\r\n--xYzZY" in b"\r\n" + after:
        return
    body = part("file", content, '; filename="a.bin"') + part("b", after) + END
    found = await read_all(cut(body, places))
    assert [(one.name, one.filename, text) for one, text in found] == [
        ("file", "a.bin", content),
        ("b", None, after),
    ]


async def test_byte_by_byte() -> None:
    """The smallest pieces there are."""
    content = b"\r\n--xYzZ\r\n--xYz\r\n\r\n--"
    body = b"preamble\r\n" + part("file", content) + END + b"epilogue"
    assert [text for _, text in await read_all([bytes([byte]) for byte in body])] == [content]


async def test_large_content_comes_in_the_pieces_it_came_in() -> None:
    """No piece is larger than what was read plus a delimiter: memory is bounded by the reads."""
    block = random.Random(1).randbytes(256 * 1024)
    pieces = [part("file", b"")[:-2], *[block] * 20, b"\r\n" + END]
    reader = FormReader(feed(pieces), BOUNDARY)
    assert await reader.next_part() is not None
    sizes = [len(piece) async for piece in reader.content()]
    assert sum(sizes) == 20 * len(block)
    assert max(sizes) <= len(block) + 64


async def test_headers_are_understood() -> None:
    """Type, plain and RFC 5987 file names, padding after the boundary, a part of no headers' worth."""
    body = (
        b"--xYzZY \t\r\ncontent-disposition: form-data; name=file; filename*=UTF-8''%E2%82%AC.wav\r\n"
        b"Content-Type: audio/wav\r\n\r\nabc\r\n" + END
    )
    ((found, text),) = await read_all([body])
    assert (found.name, found.filename, found.content_type, text) == ("file", "€.wav", "audio/wav", b"abc")


GOOD = part("file", b"abc", '; filename="a"')
MALFORMED = {
    "empty": b"",
    "no boundary": b"hello",
    "cut in content": GOOD[:-4],
    "cut in headers": b"--xYzZY\r\nContent-Dis",
    "cut before the last boundary": GOOD,
    "cut in the last boundary": GOOD + b"--xYzZY-",
    "no disposition": b"--xYzZY\r\nX: y\r\n\r\nabc\r\n" + END,
    "no headers": b"--xYzZY\r\n\r\nabc\r\n" + END,
    "no name": b"--xYzZY\r\nContent-Disposition: form-data\r\n\r\nabc\r\n" + END,
    "attachment": b'--xYzZY\r\nContent-Disposition: attachment; name="file"\r\n\r\nabc\r\n' + END,
    "text after boundary": b"--xYzZYmore\r\n" + GOOD + END,
    "base64": part("file", b"abc", "\r\nContent-Transfer-Encoding: base64") + END,
    "folded header": part("file", b"abc", "\r\n ; filename=x") + END,
    "header without colon": part("file", b"abc", "\r\nnonsense") + END,
    "bare line feed in header": part("file", b"abc", "\nX: y") + END,
    "header not text": b'--xYzZY\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nabc\r\n' + END,
    "long headers": part("file", b"abc", "\r\nX: " + "y" * 10_000) + END,
    "long preamble": b"x" * 10_000 + b"\r\n" + GOOD + END,
    "many parts": b"".join(part(f"f{n}", b"") for n in range(MAX_PARTS + 1)) + END,
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_bodies_are_refused(body: bytes) -> None:
    """A body that is cut off or not by the standard raises InvalidArgument, in one piece and in small ones."""
    for pieces in ([body], cut(body, list(range(0, len(body), 7)))):
        with pytest.raises(InvalidArgument):
            await read_all(pieces)


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=a",
     "multipart/form-data; boundary=" + "a" * 71],
)  # fmt: skip
def test_a_body_must_be_a_form_with_a_boundary(content_type: str) -> None:
    """Other types and missing or overlong boundaries are refused."""
    with pytest.raises(InvalidArgument):
        boundary_of(content_type)


def test_boundaries_are_read_quoted_and_bare() -> None:
    """Both spellings of the parameter."""
    assert boundary_of("multipart/form-data; boundary=aB-1") == b"aB-1"
    assert boundary_of('Multipart/Form-Data; charset=x; boundary="a b?"') == b"a b?"


async def test_fields_around_the_file() -> None:
    """Fields before the file say where it goes; behind it they may only repeat that."""
    body = (
        part("bucket", b"b1")
        + part("file_path", "ü/x".encode())
        + GOOD
        + part("file_path", "ü/x".encode())
        + END
    )
    reader, form = FormReader(feed([body]), BOUNDARY), UploadForm(file_path="", bucket="")
    await form.until_file(reader)
    assert (form.file_path, form.bucket) == ("ü/x", "b1")
    assert b"".join([bytes(piece) async for piece in reader.content()]) == b"abc"
    await form.after_file(reader)


FORMS = {
    "no file": part("file_path", b"x") + END,
    "no path at all": GOOD + part("bucket", b"x") + END,
    "two paths behind": GOOD + part("file_path", b"x") + part("file_path", b"y") + END,
    "unknown field": part("file_path", b"x") + part("folder", b"x") + GOOD + END,
    "another path behind": part("file_path", b"x") + GOOD + part("file_path", b"y") + END,
    "bucket behind": part("file_path", b"x") + GOOD + part("bucket", b"y") + END,
    "two files": part("file_path", b"x") + GOOD + GOOD + END,
    "path not text": part("file_path", b"\xff") + GOOD + END,
    "path too long": part("file_path", b"x" * 5000) + GOOD + END,
    "path twice": part("file_path", b"x") + part("file_path", b"y") + GOOD + END,
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
async def test_forms_that_cannot_be_stored(body: bytes) -> None:
    """Each is refused, those with a fault behind the file before the upload is finished."""
    reader, form = FormReader(feed([body]), BOUNDARY), UploadForm(file_path="", bucket="")
    with pytest.raises(InvalidArgument):
        await form.until_file(reader)
        async for _ in reader.content():
            pass
        await form.after_file(reader)
