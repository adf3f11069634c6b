"""Ports of parts: the same over restarts, never one that somebody else has."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.metrics_targets import metrics_addresses
from stack.part import PartFailed
from stack.ports import PortBook, PortTaken, is_free
from stack.settings import StackSection


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another process listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.mark.trial("10.1")
def test_a_part_comes_back_where_it_was(tmp_path: Path) -> None:
    """Each name has its port again, also after a start without it; no two names have one."""
    book = PortBook(tmp_path / "ports.json")
    first = {name: book.port(name) for name in ("redis", "scheduler", "ffmpeg")}
    assert len(set(first.values())) == 3
    book.save()
    without = PortBook(tmp_path / "ports.json")
    assert without.port("redis") == first["redis"]
    without.save()
    again = PortBook(tmp_path / "ports.json")
    assert {name: again.port(name) for name in first} == first


def test_a_port_that_somebody_took_meanwhile_is_not_insisted_on(tmp_path: Path, taken: int) -> None:
    """A kept, or a preferred, port that is taken gives way to a free one; one that was set does not."""
    (tmp_path / "ports.json").write_text(f'{{"redis": {taken}}}')
    book = PortBook(tmp_path / "ports.json")
    assert book.port("redis") != taken
    assert book.port("other", preferred=taken) != taken
    with pytest.raises(PortTaken, match=f"{taken}.*mine"):
        book.fixed("mine", taken)
    assert not is_free(taken)


def test_a_book_that_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    """Half a file is no reason not to start."""
    (tmp_path / "ports.json").write_text('{"redis": 2')
    assert PortBook(tmp_path / "ports.json").port("redis")


@pytest.mark.trial("10.6")
def test_every_part_has_a_metrics_port_of_its_own(tmp_path: Path, taken: int) -> None:
    """In the order of the parts from the first port on; one that was set stays, one that is taken is passed over."""
    section = StackSection(metrics_port=24_100, metrics_ports={"scheduler": 24_333})
    names = ["gateway", "filestore", "scheduler", "ffmpeg"]
    found = metrics_addresses(section, names, PortBook(tmp_path / "ports.json"))
    assert found["scheduler"] == "127.0.0.1:24333"
    assert len(set(found.values())) == len(names)
    assert found["gateway"] == "127.0.0.1:24100" or not is_free(24_100)
    with pytest.raises(PartFailed, match="no part is called painter; there are gateway, filestore"):
        metrics_addresses(StackSection(metrics_ports={"painter": 1}), names, PortBook(tmp_path / "x"))
    with pytest.raises(PartFailed, match=f"port {taken} .* is taken"):
        metrics_addresses(StackSection(metrics_ports={"ffmpeg": taken}), names, PortBook(tmp_path / "x"))
