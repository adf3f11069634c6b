"""A node without scheduler, Redis and filestore, used by a plain gRPC client."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from stack.demo.film import Film
from tests.conftest import ROOT
from yivideo.task.v1 import task_pb2, task_pb2_grpc


@pytest.fixture
def node_address(tmp_path: Path, film: Film, free_port: Callable[[], int]) -> Iterator[str]:
    """A node process, as the README starts it; it must end with 0 when told."""
    address = f"127.0.0.1:{free_port()}"
    environment = {
        **os.environ,
        "YIVIDEO_RUNTIME__LISTEN": address,
        "YIVIDEO_NODE__ALLOWED_ROOTS": f'["{film.video.parent}"]',
        "YIVIDEO_NODE__OUTPUT_ROOT": str(tmp_path / "out"),
    }
    with (tmp_path / "node.log").open("wb") as log:
        node = subprocess.Popen(
            [sys.executable, "-m", "services.ffmpeg"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
        try:
            with grpc.insecure_channel(address) as channel:
                grpc.channel_ready_future(channel).result(20)
            yield address
            begun = time.monotonic()
            node.send_signal(signal.SIGTERM)
            assert node.wait(30) == 0, (tmp_path / "node.log").read_text()
            # Not a claim of speed: a node with nothing to do must not sit out its whole grace (10 s).
            assert time.monotonic() - begun < 9
        finally:
            if node.poll() is None:
                node.kill()
                node.wait(10)


def test_any_client_can_run_and_watch_a_task(node_address: str, film: Film, tmp_path: Path) -> None:
    """A synchronous client finds the service by reflection, runs a task on a local path and reads its result file."""
    with grpc.insecure_channel(node_address) as channel:
        assert "yivideo.task.v1.TaskService" in ProtoReflectionDescriptorDatabase(channel).get_services()
        stub = task_pb2_grpc.TaskServiceStub(channel)
        request = task_pb2.RunTaskRequest()
        request.spec.task_id = "alone"
        request.spec.task_name = "ffmpeg.extract_audio"
        request.spec.input.update({"video_path": str(film.video), "sample_rate": 8000})
        events = list(stub.RunTask(request, timeout=60))
        kinds = [event.WhichOneof("event") for event in events]
        assert kinds[0] == "started" and kinds[-1] == "completed"
        assert "progress" in kinds
        stored = tmp_path / "out" / str(events[-1].completed.output["audio_path"])
        with wave.open(str(stored)) as audio:
            assert (audio.getframerate(), audio.getnchannels()) == (8000, 1)
            assert abs(audio.getnframes() / 8000 - film.duration_seconds) < 0.1

        request.spec.task_id = "outside"
        request.spec.input["video_path"] = "/etc/hostname"
        outcome: str
        try:
            outcome = list(stub.RunTask(request, timeout=60))[-1].failed.error.code
        except grpc.RpcError as refused:
            outcome = refused.code().name
        assert outcome in ("PATH_REFUSED", "INVALID_ARGUMENT")
