"""Reads the tensors of a PyTorch checkpoint without PyTorch, and nothing else that a pickle could hold.

A checkpoint is a zip with one pickle that names its tensors and one file of raw numbers for each storage. A pickle may name any
function to be called; the reader here knows three names, so that a checkpoint is data and can be nothing more.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tensors: TypeAlias = "dict[str, NDArray[Any]]"

_STORAGES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}


class NotTensors(ValueError):
    """The file is no checkpoint, or its pickle asks for more than tensors."""


def read_tensors(path: Path) -> Tensors:
    """Return the named tensors of a `state_dict` that `torch.save` has written. Raises NotTensors."""
    try:
        with zipfile.ZipFile(path) as archive:
            head = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            found = _TensorUnpickler(archive, head.removesuffix("data.pkl")).load()
    except (
        StopIteration,
        zipfile.BadZipFile,
        pickle.UnpicklingError,
        KeyError,
        ValueError,
        EOFError,
    ) as error:
        raise NotTensors(f"{path.name} is not a checkpoint of tensors: {error}") from error
    if not isinstance(found, dict):
        raise NotTensors(f"{path.name} holds no named tensors")
    return {str(name): value for name, value in found.items() if isinstance(value, np.ndarray)}


class _TensorUnpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}data.pkl")))
        self._archive = archive
        self._root = root

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        kind, dtype, key, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError("it refers to something that is no storage")
        return np.frombuffer(self._archive.read(f"{self._root}data/{key}"), dtype)


def _tensor(
    storage: NDArray[Any], offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> NDArray[Any]:
    """Return the view that a tensor is of its storage, as a copy; one that reaches outside is refused."""
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if min((offset, last, *stride, *size), default=0) < 0 or last >= len(storage):
        raise pickle.UnpicklingError("a tensor reaches outside of its storage")
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides).copy()
