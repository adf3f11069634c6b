"""Client of a YiVideo installation, over REST: `AsyncClient`, and `Client` for scripts and notebooks.

    from yivideo_client import Client

    with Client() as client:                                   # $YIVIDEO_URL, $YIVIDEO_API_KEY
        task = client.run("ffmpeg.extract_audio", {"video_path": Path("film.mp4")}, download_to="out")
        print(task.output["audio_path"])

Names are imported when they are first asked for, because the command line must not pay for what it does not use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yivideo_client.client import AsyncClient
    from yivideo_client.connection import Connection
    from yivideo_client.errors import (
        ApiError,
        ClientError,
        ConnectionFailed,
        IntegrityError,
        TaskCancelled,
        TaskFailed,
        UnexpectedAnswer,
        WaitTimeout,
        WorkflowCancelled,
        WorkflowFailed,
    )
    from yivideo_client.models import Event, Progress, StoredFile, Task, TaskType
    from yivideo_client.sync import Client
    from yivideo_client.workflow_models import Template, Workflow, WorkflowTask

_HOMES = {
    "AsyncClient": "client",
    "Client": "sync",
    "Connection": "connection",
    "ApiError": "errors",
    "ClientError": "errors",
    "ConnectionFailed": "errors",
    "IntegrityError": "errors",
    "TaskCancelled": "errors",
    "TaskFailed": "errors",
    "UnexpectedAnswer": "errors",
    "WaitTimeout": "errors",
    "WorkflowCancelled": "errors",
    "WorkflowFailed": "errors",
    "Event": "models",
    "Progress": "models",
    "StoredFile": "models",
    "Task": "models",
    "TaskType": "models",
    "Template": "workflow_models",
    "Workflow": "workflow_models",
    "WorkflowTask": "workflow_models",
}

__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "ClientError",
    "Connection",
    "ConnectionFailed",
    "Event",
    "IntegrityError",
    "Progress",
    "StoredFile",
    "Task",
    "TaskCancelled",
    "TaskFailed",
    "TaskType",
    "Template",
    "UnexpectedAnswer",
    "WaitTimeout",
    "Workflow",
    "WorkflowCancelled",
    "WorkflowFailed",
    "WorkflowTask",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
