"""How a worker opens an ONNX model: on its own share of the cores, quietly. Only nodes that have onnxruntime call it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime


def open_session(model: Path, threads: int) -> onnxruntime.InferenceSession:
    """Return a session on the processor that uses `threads` cores and does not spin while it waits for them."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads take the cores away from the other workers of the machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Windows, pictures and sentences come in many sizes: the arena would keep a block for each of them.
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
