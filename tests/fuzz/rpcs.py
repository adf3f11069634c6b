"""Sends malformed messages to every RPC of every server of a stack, and notes how they were answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from runtime.refusal import CallEnd, answered
from runtime.structs import to_struct
from tests.fuzz.messages import Malformer
from tests.fuzz.tally import Tally
from yivideo.access.v1 import access_pb2
from yivideo.file.v1 import file_pb2
from yivideo.gpulock.v1 import lock_pb2, monitor_pb2
from yivideo.keda.v1 import external_scaler_pb2
from yivideo.task.v1 import task_pb2, workflow_pb2

FAULTS = {
    grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}  # fmt: skip
_CALL_SECONDS = 20.0
_WATCH_SECONDS = 0.3
"""How long a stream is looked at; many have no end."""
_IN_FLIGHT = 12
_MAX_SENT_BYTES = 3 * 1024 * 1024


@dataclass(frozen=True)
class Target:
    """One RPC of one server."""

    server: str
    channel: grpc.aio.Channel
    method: MethodDescriptor

    @property
    def path(self) -> str:
        """What gRPC calls it."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"


def services() -> dict[str, list[ServiceDescriptor]]:
    """Which services each kind of server offers."""
    tasks = task_pb2.DESCRIPTOR.services_by_name["TaskService"]
    return {
        "scheduler": [
            tasks,
            workflow_pb2.DESCRIPTOR.services_by_name["WorkflowService"],
            access_pb2.DESCRIPTOR.services_by_name["AccessService"],
            external_scaler_pb2.DESCRIPTOR.services_by_name["ExternalScaler"],
        ],
        "node": [tasks],
        "filestore": [file_pb2.DESCRIPTOR.services_by_name["FileService"]],
        "gpulock": [
            lock_pb2.DESCRIPTOR.services_by_name["LockService"],
            monitor_pb2.DESCRIPTOR.services_by_name["LockMonitor"],
        ],
    }


async def untried(server: str, channel: grpc.aio.Channel, metadata: Any) -> list[str]:
    """Return the services that a server offers and that this file does not know: by what it says of itself."""
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
        iter([ask]), metadata=metadata, timeout=_CALL_SECONDS
    )
    answer = await anext(aiter(call))
    call.cancel()
    offered = {service.name for service in answer.list_services_response.service}
    known = {service.full_name for service in services()[server]}
    return sorted(
        name for name in offered - known if name.startswith("yivideo.") or name.startswith("externalscaler")
    )


def good_specs() -> list[task_pb2.TaskSpec]:
    """Tasks that a scheduler accepts; their input is missing, so each ends soon."""
    soon = task_pb2.TaskSpec(
        task_name="ffmpeg.extract_audio", input=to_struct({"video_path": "/share/none.mp4"})
    )
    full = task_pb2.TaskSpec(
        task_name="ffmpeg.extract_audio", input=to_struct({"video_path": "data:video/mp4;base64,AAAA"}), user="fuzz",
        priority=3, labels={"a": "b"}, timeout_seconds=5, delay_seconds=1, workflow_id="w1",
        retry_policy=task_pb2.RetryPolicy(max_attempts=2, initial_delay_seconds=0.1, retryable_codes=["MEDIA_UNREADABLE"]),
    )  # fmt: skip
    return [soon, full]


def good_workflow(specs: Sequence[task_pb2.TaskSpec]) -> workflow_pb2.WorkflowSpec:
    """A workflow of two tasks, one behind the other."""
    first, second = (task_pb2.TaskSpec(task_name=spec.task_name, input=spec.input) for spec in specs)
    second.depends_on.append("first")
    return workflow_pb2.WorkflowSpec(
        tasks=[
            workflow_pb2.WorkflowTask(key="first", spec=first),
            workflow_pb2.WorkflowTask(key="second", spec=second),
        ]
    )


def good_requests(malformer: Malformer, kind: Descriptor) -> Sequence[Message]:
    """Messages of a type that go past the first check."""
    known = malformer.random.choice(malformer.known) if malformer.known else "task-1"
    specs = good_specs()
    path = malformer.random.choice(["fuzz/a.bin", "fuzz/b/c.bin", known])
    made: dict[str, list[Message]] = {
        "SubmitTaskRequest": [task_pb2.SubmitTaskRequest(spec=spec) for spec in specs],
        "SubmitTasksRequest": [_submissions(malformer, specs)],
        "RunTaskRequest": [task_pb2.RunTaskRequest(spec=spec, attempt=1, fence=1) for spec in specs],
        "CancelTaskRequest": [task_pb2.CancelTaskRequest(task_id=known, grace_seconds=0.1)],
        "ListTasksRequest": [task_pb2.ListTasksRequest(page_size=10, user="fuzz")],
        "DeleteTaskRequest": [
            task_pb2.DeleteTaskRequest(task_id=known, force=malformer.random.random() < 0.5)
        ],
        "SubmitWorkflowRequest": [workflow_pb2.SubmitWorkflowRequest(spec=good_workflow(specs))],
        "CancelWorkflowRequest": [workflow_pb2.CancelWorkflowRequest(workflow_id=known, grace_seconds=0.1)],
        "DeleteWorkflowRequest": [workflow_pb2.DeleteWorkflowRequest(workflow_id=known, force=True)],
        "RevokeKeyRequest": [access_pb2.RevokeKeyRequest(key_sha256="0" * 64, user="fuzz")],
        "UploadRequest": [
            file_pb2.UploadRequest(header=file_pb2.UploadHeader(path=path, size_bytes=3)),
            file_pb2.UploadRequest(chunk=b"abc"),
        ],
        "DownloadRequest": [file_pb2.DownloadRequest(path=path)],
        "ListFilesRequest": [file_pb2.ListFilesRequest()],
        "PresignFileRequest": [file_pb2.PresignFileRequest(path=path)],
    }
    return made.get(kind.name) or [_naming(kind, known, path)]


def _submissions(malformer: Malformer, specs: Sequence[task_pb2.TaskSpec]) -> task_pb2.SubmitTasksRequest:
    """Two calls for one stream, the first perhaps to be left; their numbers need not be larger than those before."""
    number = malformer.random.randint(1, 100)
    calls = [
        task_pb2.SubmitCall(
            call=number + place, request=task_pb2.SubmitTaskRequest(spec=spec, wait_seconds=0.1 * place)
        )
        for place, spec in enumerate(specs)
    ]
    return task_pb2.SubmitTasksRequest(calls=calls, leave=malformer.random.choice([[], [number], [-1]]))


def _naming(kind: Descriptor, task_id: str, path: str) -> Message:
    message: Message = GetMessageClass(kind)()
    for field, value in (("task_id", task_id), ("workflow_id", task_id), ("path", path)):
        if field in message.DESCRIPTOR.fields_by_name:
            setattr(message, field, value)
    return message


class RpcFuzzer:
    """Calls RPCs, so many at a time, until a number of requests is reached."""

    def __init__(self, targets: Sequence[Target], malformer: Malformer, tally: Tally, metadata: Any) -> None:
        self._targets = targets
        self._malformer = malformer
        self._tally = tally
        self._metadata = metadata
        self.codes: Counter[str] = Counter()

    async def run(self, requests: int) -> None:
        """Send so many requests, each RPC in turn."""
        turns = iter(range(requests))

        async def send() -> None:
            for turn in turns:
                await self._one(self._targets[turn % len(self._targets)])

        await asyncio.gather(*(send() for _ in range(_IN_FLIGHT)))

    async def _one(self, target: Target) -> None:
        kind = target.method.input_type
        many = self._malformer.random.randint(1, 3) if target.method.client_streaming else 1
        sent = [self._malformer.request(kind, good_requests(self._malformer, kind)) for _ in range(many)]
        sent = [one if len(one) < _MAX_SENT_BYTES else b"" for one in sent]
        code = grpc.StatusCode.OK
        try:
            await self._call(target, sent)
        except grpc.aio.AioRpcError as error:
            code = error.code()
            if code in FAULTS:
                self._tally.fault(f"{target.server} {target.method.name} {code.name}", error.details(), sent)
        self._tally.requests += 1
        self.codes[f"{target.server}.{target.method.name} {code.name}"] += 1

    async def _call(self, target: Target, sent: list[bytes]) -> None:
        path, options = target.path, {"metadata": self._metadata}
        channel: Any = target.channel  # its calls take and give bytes: no serialiser is set
        method = target.method

        async def stream() -> AsyncIterator[bytes]:
            for one in sent:
                yield one

        if method.server_streaming:
            if method.client_streaming:
                call = channel.stream_stream(path)(stream(), **options)
            else:
                call = channel.unary_stream(path)(sent[0], **options)
            end = CallEnd(call)
            try:
                async with asyncio.timeout(_WATCH_SECONDS):
                    async for answer in call:
                        self._learn(target, answer)
            except TimeoutError:
                pass
            except grpc.aio.AioRpcError as error:
                raise await end.own(error) from None
            finally:
                call.cancel()
            return
        if method.client_streaming:
            answer = await answered(channel.stream_unary(path)(stream(), timeout=_CALL_SECONDS, **options))
        else:
            answer = await channel.unary_unary(path)(sent[0], timeout=_CALL_SECONDS, **options)
        if method.name == "DeleteTask" and target.server == "scheduler":
            self._tally.deleted.add(task_pb2.DeleteTaskRequest.FromString(sent[0]).task_id)
        self._learn(target, answer)

    def _learn(self, target: Target, answer: bytes) -> None:
        """Remember what exists now."""
        method = target.method
        if target.server != "scheduler":
            return  # what runs on a node alone is in no list; the judge looks at the node's slots
        if method.output_type.name == "Task":
            self._tally.accepted.add(task_pb2.Task.FromString(answer).spec.task_id)
        if method.name == "SubmitWorkflow":
            workflow = workflow_pb2.Workflow.FromString(answer)
            self._tally.accepted.update(task.spec.task_id for task in workflow.tasks)
            self._malformer.known.append(workflow.spec.workflow_id)
        if method.output_type.name == "DeleteWorkflowResponse":
            done = workflow_pb2.DeleteWorkflowResponse.FromString(answer)
            self._tally.deleted.update(one.task_id for one in done.tasks)
        if method.output_type.name == "SubmitTasksResponse":
            for one in task_pb2.SubmitTasksResponse.FromString(answer).answers:
                if one.HasField("task"):
                    self._tally.accepted.add(one.task.spec.task_id)
        if method.output_type.name == "TaskEvent":
            self._tally.accepted.add(task_pb2.TaskEvent.FromString(answer).task_id)
        self._malformer.known = [*self._malformer.known[-50:], *list(self._tally.accepted)[-2:]]
