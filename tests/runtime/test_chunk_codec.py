"""Chunks on the wire are the contract's messages, to the byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.chunk_codec import chunk_tag, decode, encode, reader, writer
from yivideo.file.v1 import file_pb2

UP = chunk_tag(file_pb2.UploadRequest, "chunk")


@given(
    st.lists(st.binary(max_size=300), max_size=4), st.sampled_from([0, 126, 127, 128, 16_383, 16_384, 2**21])
)
def test_encoded_chunks_are_what_protobuf_writes(pieces: list[bytes], extra: int) -> None:
    """Both directions agree with the protobuf library, at every length of the length."""
    pieces = [*pieces, bytes(extra)]
    whole = b"".join(pieces)
    raw = encode(UP, [memoryview(piece) for piece in pieces])
    assert raw == file_pb2.UploadRequest(chunk=whole).SerializeToString()
    decoded = decode(UP, raw)
    assert decoded is not None and bytes(decoded) == whole


@given(st.binary(max_size=40))
def test_anything_else_is_left_to_protobuf(raw: bytes) -> None:
    """What is read without the library is what the library would have read."""
    chunk = decode(UP, raw)
    if chunk is not None:
        assert file_pb2.UploadRequest.FromString(raw).chunk == chunk


def test_other_messages_pass_as_they_are() -> None:
    """Headers, trailers, a chunk followed by more, and an empty message are read by the library."""
    read, write = reader(file_pb2.UploadRequest, "chunk"), writer()
    for message in (
        file_pb2.UploadRequest(header=file_pb2.UploadHeader(path="a")),
        file_pb2.UploadRequest(trailer=file_pb2.UploadTrailer(size_bytes=3)),
        file_pb2.UploadRequest(),
    ):
        assert read(write(message)) == message
    two = encode(UP, [b"a"]) + encode(UP, [b"b"])
    assert read(two) == file_pb2.UploadRequest(chunk=b"b")


def test_only_small_numbered_bytes_fields_are_chunks() -> None:
    """A field that is no bytes field is refused when the program starts."""
    with pytest.raises(ValueError, match="not a bytes field"):
        chunk_tag(file_pb2.UploadRequest, "header")
