"""The manifests against processes that run as they say: ports, probes, figures, KEDA's calls, and who was connected to whom."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.deploy.arrows import Arrow, arrows
from tests.deploy.figures import figure_names, rule_figures
from tests.deploy.finding import Finding, invalid, not_in_code
from tests.deploy.installation import Installation, installed
from tests.deploy.manifests import Render, Workload
from tests.deploy.secret import api_key
from tests.deploy.sockets import ConnectionWatch, listening, tree_memory_mib
from tests.s3.radosgw import S3Server
from yivideo.keda.v1 import external_scaler_pb2, external_scaler_pb2_grpc
from yivideo_client.client import AsyncClient
from yivideo_client.connection import Connection
from yivideo_client.errors import ClientError

_READY_SECONDS = 180.0
_CALL_SECONDS = 10.0
_SOUND_SECONDS = 50
_RATE = 192_000
"""So that what is stored (18 MiB) is large enough for every way past the filestore."""


class NotReady(Exception):
    """A workload whose readiness probe never passed, with the end of its log."""


def live_findings(render: Render, s3: S3Server | None) -> tuple[list[Finding], set[Arrow]]:
    """Run a render with all components, and return what it says that the processes do not bear out, and the arrows that were seen.

    Raises NotReady when something does not come up at all.
    """
    with (
        tempfile.TemporaryDirectory(prefix="yivideo-deploy-") as folder,
        installed(render, Path(folder), s3) as made,
        ConnectionWatch(made.roots, made.targets) as watch,
    ):
        _wait(made)
        found = [
            *_port_findings(made),
            *_probe_findings(made),
            *_figure_findings(made),
            *_scaler_findings(made),
        ]
        asyncio.run(_work(made, Path(folder)))
        _tell_memory(made)
        found += _arrow_findings(made, watch.look())
        found += [
            invalid(
                f"live: {name}", f"SIGTERM to its first process does not end it in order (exit code {code})"
            )
            for name, code in made.stop().items()
            if code
        ]
        return found, watch.seen


def _wait(made: Installation) -> None:
    end = time.monotonic() + _READY_SECONDS
    for workload in made.render.workloads:
        if workload.name not in made.processes:
            continue
        while not _passes(made, workload, workload.container["readinessProbe"]):
            for name, process in made.processes.items():
                if process.poll() is not None:
                    raise NotReady(f"{name} has ended by itself:\n{made.log_of(name)}")
            if time.monotonic() > end:
                raise NotReady(f"{workload.where} does not get ready:\n{made.log_of(workload.name)}")
            time.sleep(0.2)


def _passes(made: Installation, workload: Workload, probe: dict[str, Any]) -> bool:
    """Probe as a kubelet does: without a token, without a certificate."""
    if "exec" in probe:
        command = [made.translated(workload, word) for word in probe["exec"]["command"]]
        command[-1] = command[-1].replace("redis-cli", f"redis-cli -h {made.addresses[workload.name]}")
        environment = {"PATH": "/usr/bin:/bin", **workload.environment()}
        return (
            subprocess.run(command, env=environment, capture_output=True, timeout=_CALL_SECONDS).returncode
            == 0
        )
    kind = next(kind for kind in ("grpc", "httpGet", "tcpSocket") if kind in probe)
    port = workload.port(probe[kind]["port"])
    if port is None:
        return False
    host, number = made.place(workload, port)
    if kind == "httpGet":
        return _get(f"http://{host}:{number}{probe[kind]['path']}") is not None
    if kind == "grpc":
        request = health_pb2.HealthCheckRequest(service=probe[kind].get("service", ""))
        with grpc.insecure_channel(f"{host}:{number}") as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=_CALL_SECONDS)
            except grpc.RpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
    return True  # a listening port, which is looked at with the others


def _get(url: str) -> str | None:
    with (
        contextlib.suppress(urllib.error.URLError, OSError),
        urllib.request.urlopen(url, timeout=_CALL_SECONDS) as answer,
    ):
        return str(answer.read().decode()) if answer.status == 200 else None
    return None


def _tell_memory(made: Installation) -> None:
    """Print what each workload holds after its work: the floor under its request."""
    sizes = {name: tree_memory_mib(process.pid) for name, process in sorted(made.processes.items())}
    print("resident MiB: " + ", ".join(f"{name} {size:.0f}" for name, size in sizes.items()))


def _port_findings(made: Installation) -> Iterator[Finding]:
    found = listening(made.roots)
    for workload in made.render.workloads:
        if workload.name not in made.processes:
            continue
        told = {made.place(workload, port) for port in workload.ports.values()}
        where = f"live: {workload.where}"
        yield from (
            not_in_code(where, f"nobody listens on port {port}")
            for _, port in sorted(told - found[workload.name])
        )
        yield from (
            not_in_code(where, f"listens on {host}:{port}, which is no port of its container")
            for host, port in sorted(found[workload.name] - told)
        )


def _probe_findings(made: Installation) -> Iterator[Finding]:
    for workload in made.render.workloads:
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            if workload.name in made.processes and not _passes(made, workload, workload.container[kind]):
                yield not_in_code(f"live: {workload.where}", f"{kind} does not pass")


def _figure_findings(made: Installation) -> Iterator[Finding]:
    paths = {
        endpoint["path"]
        for one in made.render.of("ServiceMonitor", "PodMonitor")
        for endpoint in one["spec"].get("endpoints", one["spec"].get("podMetricsEndpoints", []))
    }
    served: set[str] = set()
    for workload in made.render.ours:
        host, port = made.place(workload, workload.ports["metrics"])
        for path in paths:
            text = _get(f"http://{host}:{port}{path}") or ""
            names = figure_names(text)
            if "yivideo_build_info" not in names:
                yield not_in_code(
                    f"live: {workload.where}", f"serves no figures at {path} of its port metrics"
                )
            served |= names
    for rule, names in rule_figures(made.render):
        yield from (not_in_code(f"live: {rule}", f"nobody serves {name}") for name in sorted(names - served))


def _scaler_findings(made: Installation) -> Iterator[Finding]:
    """Ask as KEDA does: with its certificate and no token, at the trigger's address."""
    scheduler = made.render.workload("scheduler")
    assert scheduler is not None
    credentials = None
    if any(one["metadata"]["name"] == "keda" for one in made.render.of("TriggerAuthentication")):
        folder = made.folder / "keda"
        folder.mkdir(exist_ok=True)
        made.write_certificate(["keda"], folder)
        parts = [(folder / name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt")]
        credentials = grpc.ssl_channel_credentials(*parts)
    for one in made.render.of("ScaledObject"):
        where = f"live: ScaledObject {one['metadata']['name']}"
        given = one["spec"]["triggers"][0]["metadata"]
        asked = re.sub(r"^dns:///", "", given["scalerAddress"])
        address = made.translated(scheduler, asked)
        # Its name is what KEDA holds the certificate to; here the address stands for it.
        options = [("grpc.ssl_target_name_override", asked.rpartition(":")[0])]
        channel = (
            grpc.secure_channel(address, credentials, options)
            if credentials
            else grpc.insecure_channel(address)
        )
        with channel:
            stub = external_scaler_pb2_grpc.ExternalScalerStub(channel)
            reference = external_scaler_pb2.ScaledObjectRef(
                name=one["metadata"]["name"], scaler_metadata=given
            )
            try:
                spec = stub.GetMetricSpec(reference, timeout=_CALL_SECONDS).metric_specs[0]
                stub.GetMetrics(
                    external_scaler_pb2.GetMetricsRequest(
                        scaled_object_ref=reference, metric_name=spec.metric_name
                    ),
                    timeout=_CALL_SECONDS,
                )
            except grpc.RpcError as error:
                yield not_in_code(where, f"the scheduler answers {error.code().name}: {error.details()}")
                continue
        if spec.target_size != int(given["tasksPerReplica"]):
            yield not_in_code(where, f"the scheduler counts {spec.target_size} tasks a replica")


async def _work(made: Installation, folder: Path) -> None:
    """Do what sends bytes and calls along every arrow: a file in, a task, its result out, a look at the leases, all deleted."""
    sound = folder / "sound.wav"
    with wave.open(str(sound), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(bytes(2 * _RATE * _SOUND_SECONDS))
    gateway = made.render.workload("gateway")
    assert gateway is not None
    host, port = made.place(gateway, gateway.ports["rest"])
    async with (
        AsyncClient(Connection(url=f"http://{host}:{port}", api_key=api_key())) as client,
        asyncio.timeout(_READY_SECONDS),
    ):
        await _types_known(client)
        await client.call("GET", "/v1/monitoring/gpu-lock/status")
        task = await client.run(
            "ffmpeg.extract_audio", {"video_path": sound, "sample_rate": _RATE}, download_to=folder / "out"
        )
        await client.tasks.delete(task.task_id)
        film = folder / "film.mp4"
        subprocess.run(
            ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=duration=1:size=160x120", "-pix_fmt", "yuv420p", film],
            check=True, timeout=_CALL_SECONDS,
        )  # fmt: skip
        with contextlib.suppress(
            ClientError
        ):  # there is no card here, which the lock service must be asked to know
            await client.run(
                "ffmpeg.crop_subtitle_images",
                {"video_path": film, "subtitle_area": [0, 80, 160, 120], "decoder": "cuda"},
            )


async def _types_known(client: AsyncClient) -> None:
    """Wait until the scheduler has heard of the node's tasks."""
    while "ffmpeg.extract_audio" not in {kind.name for kind in await client.tasks.types()}:
        await asyncio.sleep(0.2)


def _arrow_findings(made: Installation, seen: set[Arrow]) -> Iterator[Finding]:
    """Each arrow that policies allow was seen (of one node for all: they are one policy), and no other was."""
    allowed = arrows(made.render)
    nodes = {node.name for node in made.render.nodes}

    def role(arrow: Arrow) -> Arrow:
        first, last, port = arrow
        return "node" if first in nodes else first, last, port

    used = {role((first, last, made_port(made, last, port))) for first, last, port in seen}
    for first, last, port in sorted({role(arrow) for arrow in allowed} - used):
        if last != "s3" or made.s3 is not None:
            yield not_in_code("live: network policy", f"nobody was seen to go {first} -> {last}:{port}")
    named = {(first, last, made_port(made, last, port)) for first, last, port in seen}
    for first, last, port in sorted(named - allowed):
        yield not_in_code(
            "live: network policy", f"{first} -> {last}:{port} is refused, and the processes do it"
        )


def made_port(made: Installation, target: str, port: int) -> int:
    """The manifests' number of a port: the S3 that stands in has another."""
    if target == "s3" and made.s3 is not None:
        workload = made.render.workload("s3")
        return workload.ports["s3"] if workload else port
    return port
