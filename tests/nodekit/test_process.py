"""Laws of a node as a process of its own, spoken to by a plain synchronous gRPC client, as any other language's would be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from runtime.structs import to_struct
from tests.nodekit.conftest import is_alive, processes_with
from yivideo.task.v1 import task_pb2, task_pb2_grpc

ROOT = Path(__file__).resolve().parent.parent.parent


class NodeProcess:
    """`python -m tests.nodekit.toy` on a free port."""

    def __init__(self, folder: Path, **environment: str) -> None:
        own = {
            "YIVIDEO_NODE__OUTPUT_ROOT": str(folder / "outputs"),
            "YIVIDEO_NODE__KILL_GRACE_SECONDS": "0.3",
            "YIVIDEO_RUNTIME__METRICS_LISTEN": "127.0.0.1:0",
            "YIVIDEO_RUNTIME__DRAIN_SECONDS": "0.3",
            "TMPDIR": str(folder),
            **environment,
        }
        self._log = (folder / "log").open("a+")  # the node writes at the end, wherever we read
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.nodekit.toy"],
            cwd=ROOT,
            env={**os.environ, **own},
            stderr=self._log,
        )
        self.address = str(self._logged("listening")["address"])
        self.channel = grpc.insecure_channel(self.address)
        self.stub = task_pb2_grpc.TaskServiceStub(self.channel)

    def lines(self) -> list[dict[str, object]]:
        self._log.seek(0)
        return [json.loads(line) for line in self._log if line.endswith("}\n")]

    def _logged(self, event: str) -> dict[str, object]:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for line in self.lines():
                if line.get("event") == event:
                    return line
            assert self.process.poll() is None, "the node ended"
            time.sleep(0.02)
        raise AssertionError(f"no {event!r} in the log")

    def run(
        self, task_name: str, task_input: dict[str, object], **spec: object
    ) -> Iterator[task_pb2.TaskEvent]:
        told = task_pb2.TaskSpec(task_name=task_name, input=to_struct(task_input), **spec)  # type: ignore[arg-type]
        return self.stub.RunTask(task_pb2.RunTaskRequest(spec=told), timeout=30)

    def close(self) -> None:
        self.channel.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._log.close()


@pytest.fixture
def node_process(tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    """Return a function that starts the toy node as a process."""
    started: list[NodeProcess] = []

    def start(**environment: str) -> NodeProcess:
        started.append(NodeProcess(tmp_path, **environment))
        return started[-1]

    yield start
    for process in started:
        process.close()


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def test_sync_client_runs_a_task_and_finds_the_services(node_process: Callable[..., NodeProcess]) -> None:
    """A plain sync client runs a task, reflection lists the services, health says SERVING."""
    node = node_process()
    events = list(node.run("toy.echo", {"text": "hello"}))
    assert [event.WhichOneof("event") for event in events] == ["started", "completed"]
    assert events[-1].completed.output.fields["text"].string_value == "hello"
    services = ProtoReflectionDescriptorDatabase(node.channel).get_services()
    assert {"yivideo.task.v1.TaskService", "grpc.health.v1.Health"} <= set(services)
    health = health_pb2_grpc.HealthStub(node.channel)
    answer = health.Check(health_pb2.HealthCheckRequest(service="yivideo.task.v1.TaskService"), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_bad_input_reaches_a_sync_client_as_invalid_argument(
    node_process: Callable[..., NodeProcess],
) -> None:
    """A sync client sees INVALID_ARGUMENT, and what a node does not offer is UNIMPLEMENTED."""
    node = node_process()
    with pytest.raises(grpc.RpcError) as refused:
        list(node.run("toy.echo", {"text": 5}))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as refused:
        node.stub.SubmitTask(task_pb2.SubmitTaskRequest(), timeout=5)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_sigkill_of_the_node_leaves_no_process_and_no_folder(
    node_process: Callable[..., NodeProcess], tmp_path: Path
) -> None:
    """When the node is killed outright, children, grandchildren in sessions of their own, and workers go too, and its temporary
    folder is removed.
    """
    node = node_process()
    number = uuid.uuid4().int % 10**8
    script = f"trap '' TERM HUP; setsid sh -c 'sleep 67{number}; :' & (setsid setsid sleep 67{number} &); sleep 67{number}; :"
    shell = node.run("toy.shell", {"script": script})
    stuck = node.run("toy.stuck", {"folder": str(tmp_path), "how": "hash"})
    assert next(shell).HasField("started")
    assert next(stuck).HasField("started")
    wait_until(lambda: len(processes_with(f"67{number}")) >= 4 and (tmp_path / "worker.pid").exists())
    wait_until(lambda: (tmp_path / "worker.pid").read_text() != "")
    worker = int((tmp_path / "worker.pid").read_text())
    assert is_alive(worker)
    assert list(tmp_path.glob("yivideo-toy-*"))
    node.process.send_signal(signal.SIGKILL)
    node.process.wait(5)
    wait_until(lambda: not processes_with(f"67{number}") and not is_alive(worker), 5)
    wait_until(lambda: not list(tmp_path.glob("yivideo-toy-*")), 5)


def test_child_dies_with_the_node_even_without_the_reaper(node_process: Callable[..., NodeProcess]) -> None:
    """The kernel ends a child whose node has died, also when the reaper was killed before."""
    node = node_process()
    number = uuid.uuid4().int % 10**8
    events = node.run("toy.shell", {"script": f"exec sleep 71{number}"})
    assert next(events).HasField("started")
    wait_until(lambda: bool(processes_with(f"sleep\x0071{number}")))
    replica = str(node._logged("node serves")["replica"])
    (reaper,) = [pid for pid in processes_with(f"{replica}/") if pid != node.process.pid]
    os.kill(reaper, signal.SIGKILL)
    node.process.send_signal(signal.SIGKILL)
    node.process.wait(5)
    wait_until(lambda: not processes_with(f"71{number}"), 5)


def test_a_frozen_node_is_killed_with_all_it_started(
    node_process: Callable[..., NodeProcess], tmp_path: Path
) -> None:
    """A stopped node cannot notice that its work went to another; its children are ended, and it never works on itself."""
    node = node_process(YIVIDEO_NODE__FROZEN_SECONDS="1")
    number = uuid.uuid4().int % 10**8
    shell = node.run("toy.shell", {"script": f"setsid sleep 73{number} & sleep 73{number}; :"})
    gate = node.run("toy.gate", {"folder": str(tmp_path)})
    assert next(shell).HasField("started")
    assert next(gate).HasField("started")
    wait_until(lambda: len(processes_with(f"sleep\x0073{number}")) >= 2)
    node.process.send_signal(signal.SIGSTOP)
    assert node.process.wait(10) == -signal.SIGKILL
    wait_until(lambda: not processes_with(f"73{number}"), 5)
    assert (tmp_path / "journal").read_text() == "start 1\n"
    assert "stood still for 1 s" in str(node.lines()[-1]["event"])


def test_a_reaper_that_was_killed_is_replaced(node_process: Callable[..., NodeProcess]) -> None:
    """A node is not left without what ends its work when it freezes."""
    node = node_process(YIVIDEO_NODE__FROZEN_SECONDS="1")
    prefix = f"{node._logged('node serves')['replica']}/"
    (first,) = [pid for pid in processes_with(prefix) if pid != node.process.pid]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: bool(set(processes_with(prefix)) - {node.process.pid, first}))
    node.process.send_signal(signal.SIGSTOP)
    assert node.process.wait(10) == -signal.SIGKILL


@pytest.mark.slow
def test_a_short_freeze_changes_nothing(node_process: Callable[..., NodeProcess], tmp_path: Path) -> None:
    """A node that goes on within the limit goes on with its work; so does one whose reaper was frozen for longer than that."""
    node = node_process(YIVIDEO_NODE__FROZEN_SECONDS="2")
    events = node.run("toy.gate", {"folder": str(tmp_path)})
    assert next(events).HasField("started")
    replica = str(node._logged("node serves")["replica"])
    (reaper,) = [pid for pid in processes_with(f"{replica}/") if pid != node.process.pid]
    for pid, seconds in ((node.process.pid, 0.5), (reaper, 2.5)):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)  # the length of the freeze is what is tested
        os.kill(pid, signal.SIGCONT)
    (tmp_path / "open").touch()
    assert [event.WhichOneof("event") for event in events][-1] == "completed"


def test_sigterm_drains(node_process: Callable[..., NodeProcess], tmp_path: Path) -> None:
    """At SIGTERM health turns NOT_SERVING, a running task is handed back within the grace, and the process ends with 0."""
    node = node_process()
    events = node.run("toy.gate", {"folder": str(tmp_path), "checkpoint": {"at": 1}})
    assert next(events).HasField("started")
    watch = health_pb2_grpc.HealthStub(node.channel).Watch(
        health_pb2.HealthCheckRequest(service=""), timeout=20
    )
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    node.process.send_signal(signal.SIGTERM)
    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()
    with pytest.raises(grpc.RpcError) as refused:
        list(node.run("toy.echo", {"text": "late"}))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert [event.WhichOneof("event") for event in events][-1] == "handed_back"
    assert node.process.wait(10) == 0
    assert not list(tmp_path.glob("yivideo-toy-*"))


def test_children_do_not_inherit_our_secrets(node_process: Callable[..., NodeProcess]) -> None:
    """A child's environment holds no setting of YiVideo, so neither the internal token."""
    node = node_process(YIVIDEO_NODE__OUTPUT_ROOT="secret-place", MINIO_SECRET_KEY="secret-key")
    events = list(node.run("toy.shell", {"script": "env"}))
    lines = [line.string_value for line in events[-1].completed.output.fields["lines"].list_value.values]
    assert any(line.startswith("PATH=") for line in lines)
    assert not any("secret-place" in line or "secret-key" in line for line in lines)


def test_logs_carry_the_ids(node_process: Callable[..., NodeProcess]) -> None:
    """Every line of an attempt is JSON with the task's id and the caller's trace id; a bug's traceback is in the log only."""
    node = node_process()
    trace = "a" * 32
    list(node.run("toy.fail", {"how": "bug"}, task_id="t-77", traceparent=f"00-{trace}-{'b' * 16}-01"))
    lines = [line for line in node.lines() if line.get("task_id") == "t-77"]
    assert {"attempt started", "task function failed", "attempt ended"} <= {
        str(line["event"]) for line in lines
    }
    assert all(line["trace_id"] == trace for line in lines if line["event"] != "call ended")
    assert any("secret detail" in str(line.get("exception", "")) for line in lines)
