"""Checkpoints are data: tensors come out as they went in, and nothing else can."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.diarize.campplus_graph import build
from services.diarize.torch_tensors import NotTensors, read_tensors


def checkpoint(path: Path, body: bytes, numbers: np.ndarray[Any, Any]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", body)
        archive.writestr("model/data/0", numbers.astype("<f4").tobytes())
    return path


def tensor_pickle(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """The opcodes by which torch names one tensor `w` of storage 0; protocol 2, as torch writes it."""
    stream = io.BytesIO()
    stream.write(b"\x80\x02}X\x01\x00\x00\x00w")
    stream.write(b"ctorch._utils\n_rebuild_tensor_v2\n(")
    stream.write(
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x0ctQ"
    )
    for value in (offset, size, stride):
        stream.write(pickle.dumps(value, 2)[2:-1])
    stream.write(b"\x89tRs.")
    return stream.getvalue()


def test_tensors_come_out(tmp_path: Path) -> None:
    """Shape, stride and offset count: a transposed part of a storage is that part."""
    path = checkpoint(tmp_path / "a.pt", tensor_pickle((3, 2), (1, 4), 1), np.arange(12))
    assert read_tensors(path)["w"].tolist() == [[1, 5], [2, 6], [3, 7]]


@pytest.mark.parametrize(
    "body",
    [
        pickle.dumps({"w": os.system}),
        pickle.dumps({"w": eval}),
        tensor_pickle((5, 4), (4, 1)),
        tensor_pickle((2,), (-1,)),
        b"not a pickle",
    ],
)
def test_nothing_else_does(tmp_path: Path, body: bytes) -> None:
    """A pickle that names a function, or a tensor that reaches outside of its storage, is refused."""
    with pytest.raises(NotTensors):
        read_tensors(checkpoint(tmp_path / "a.pt", body, np.arange(12)))
    (tmp_path / "b.pt").write_bytes(body)
    with pytest.raises(NotTensors):
        read_tensors(tmp_path / "b.pt")


def test_another_model_is_no_campplus(tmp_path: Path) -> None:
    """A checkpoint without the network's tensors is named as such, by the first that is missing."""
    path = checkpoint(tmp_path / "a.pt", tensor_pickle((12,), (1,)), np.arange(12))
    with pytest.raises(NotTensors, match="head"):
        build(read_tensors(path))
