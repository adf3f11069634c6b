"""Addresses: host and port, and who can reach them."""

from __future__ import annotations

import pytest

from runtime.addresses import is_local, join_host_port, split_host_port
from runtime.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("localhost:65535", ("localhost", 65535)),
        ("[::1]:80", ("::1", 80)),
        ("redis.internal:6379", ("redis.internal", 6379)),
    ],
)
def test_an_address_splits_and_joins(text: str, parts: tuple[str, int]) -> None:
    """Splitting and joining are each other's inverse."""
    assert split_host_port(text) == parts
    assert join_host_port(*parts) == text


@pytest.mark.parametrize(
    "text", ["", ":", ":80", "host", "host:", "host:x", "host:65536", "host:-1", "host:٣", "::1:80", "[]:80"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """Nothing is guessed: no host, no port, or an IPv6 address without brackets is InvalidArgument."""
    with pytest.raises(InvalidArgument):
        split_host_port(text)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/run/yivideo.sock", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("scheduler:1", False),
        ("localhost.example:1", False),
    ],
)
def test_only_loopback_and_sockets_are_local(address: str, local: bool) -> None:
    """What decides whether a server may stand open."""
    assert is_local(address) is local
