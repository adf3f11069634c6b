"""The worker's own program (`nodekit.process.worker`). Reads calls on standard input, writes results to what was the output.

Whatever the called function prints goes to standard error, so that it cannot corrupt the results.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import traceback
from typing import Any, BinaryIO

_LENGTH = struct.Struct("!Q")


class _Unpickler(pickle.Unpickler):
    """Finds what the node's own `__main__` defines under that module's real name, so that nothing starts a second node."""

    main_module = ""

    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(self.main_module if module == "__main__" else module, name)


def _read(stream: BinaryIO) -> Any:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    return _Unpickler(io.BytesIO(stream.read(length))).load()


def _write(stream: BinaryIO, value: Any) -> None:
    body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(body)))
    stream.write(body)
    stream.flush()


def _portable(error: Exception) -> Exception:
    """Return an exception that survives pickling, with the worker's traceback as a note."""
    trace = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.__traceback__ = error.__cause__ = error.__context__ = None
    error.add_note(f"in the worker process:\n{trace}")
    return error


def main() -> None:
    """Serve calls until standard input closes."""
    calls = os.fdopen(os.dup(0), "rb")
    results = os.fdopen(os.dup(1), "wb")
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    os.dup2(2, 1)
    sys.path[:], _Unpickler.main_module = _read(calls)
    model: Any = None
    while True:
        try:
            how, function, args, kwargs = _read(calls)
        except EOFError:
            return
        except Exception as error:
            _write(results, ("error", _portable(error)))
            continue
        try:
            if how == "load":
                model, result = function(*args, **kwargs), None
            elif how == "use":
                result = function(model, *args, **kwargs)
            elif how == "stream":
                result = None
                for item in function(model, *args, **kwargs):
                    _write(results, ("item", item))
            else:
                result = function(*args, **kwargs)
            answer: tuple[str, Any] = ("result", result)
            pickle.dumps(answer[1], protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            answer = ("error", _portable(error))
        _write(results, answer)


if __name__ == "__main__":
    main()
