"""What a node is written with: `Node`, `@node.task`, typed input and output, and the `TaskContext` of a running attempt.

A node author writes task functions; nodekit does the server, health, signals, drain, cancellation, heartbeats, validation,
schemas, media in and out, status mapping, metrics and logs. It knows no Redis, no REST and no other node, and needs no
scheduler: `nodekit.serve(node)` runs a node alone. `nodekit.testkit` tests one in a few lines.
"""

from __future__ import annotations

from nodekit.context import TaskContext
from nodekit.failure import TaskFailed
from nodekit.gpu.lease import GpuLease
from nodekit.gpu.warm import WarmModel
from nodekit.media_ref import FolderRef, MediaKind, MediaRef
from nodekit.node import Node
from nodekit.process.child import ChildFailed
from nodekit.process.child_output import ChildOutput, Completed
from nodekit.restarts import through_deaths
from nodekit.serve import serve
from nodekit.task_model import TaskInput, TaskOutput, examples

__all__ = [
    "ChildFailed",
    "ChildOutput",
    "Completed",
    "FolderRef",
    "GpuLease",
    "MediaKind",
    "MediaRef",
    "Node",
    "TaskContext",
    "TaskFailed",
    "TaskInput",
    "TaskOutput",
    "WarmModel",
    "examples",
    "serve",
    "through_deaths",
]
