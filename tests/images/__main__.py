"""`make images`' trial: starts what deploy/compose.yaml says, out of the built images, and runs a real task through it over REST.

Every service of the file runs as it says (arguments, variables, networks, volumes, secrets of deploy/secrets.sh), each in
namespaces of its own (`container.py`); Redis is this machine's own, on the external network, and the models' volume is empty. Then
the laws: every node's task types are published, a film's sound comes out, nobody is root or can become it, nothing is written
beside volumes and /tmp, orphans are reaped, a node cannot reach Redis, and everything ends when it is told to.

With `--ocr paddle` the node that reads comes out of the image of that environment, and reads a picture by networks that its own
Paddle has made: tiny ones of the published form (`tests/engines/tiny_paddle.py`), put where an operator puts real ones.

Needs root, buildah, iproute2, util-linux, redis-server and ffmpeg.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from stack.node_table import read_node_table
from tests.conftest import ROOT
from tests.images.compose import Service, in_order, read_services
from tests.images.container import Container
from tests.images.image import Image, mounted
from tests.images.networks import Networks, networks
from tests.images.platforms import faults_on_arm

_READY_SECONDS = 90.0
_PADDLE_FOLDERS = {"YIVIDEO_OCR__DETECTOR_FOLDER": "det", "YIVIDEO_OCR__RECOGNISER_FOLDER": "rec"}
"""Below /models, as a relative folder is."""


def main() -> int:
    """Print the result; 1 when a law is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.images")
    parser.add_argument(
        "--ocr", default="light", choices=("light", "paddle"), help="environment of the node that reads"
    )
    given = parser.parse_args()
    paddle = given.ocr == "paddle"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="yivideo-images-")))
        subprocess.run(
            [ROOT / "deploy/secrets.sh", folder / "secrets", "redis://redis:6379"],
            check=True,
            timeout=30,
            stdout=sys.stderr,
        )
        services = read_services({"SECRETS_FOLDER": str(folder / "secrets"), "OCR_ENVIRONMENT": given.ocr})
        if paddle:
            ocr = services["ocr"]
            services["ocr"] = replace(ocr, environment={**ocr.environment, **_PADDLE_FOLDERS})
        names = dict.fromkeys(service.image for service in services.values())
        images = {name: stack.enter_context(mounted(name)) for name in names}
        faults = [fault for image in images.values() for fault in image.faults()]
        on_arm = [
            fault for name in names for fault in faults_on_arm(name.rpartition("-")[2].partition(":")[0])
        ]
        hosts = {name: service.networks for name, service in services.items()}
        nets = stack.enter_context(networks({"redis": ("redis",), "client": ("outside",), **hosts}))
        stack.enter_context(_redis(folder, nets))
        containers = _started(stack, services, images, nets, folder)
        seconds = _wait(containers)
        if paddle and seconds is not None:
            _bring_networks(containers["ocr"], folder / "volumes")
        task = _run_task(folder, nets, paddle=paddle) if seconds is not None else {}
        faults += _laws(containers, nets) if seconds is not None else ["the gateway never got ready"]
        stops = {name: containers[name].stop() for name in reversed(in_order(services))}
    faults += [f"{name}: ended with {code}" for name, (code, _) in stops.items() if code != 0]
    faults += _task_faults(task, paddle=paddle)
    result: dict[str, Any] = {
        "images": {
            image.name.partition("/")[2]: f"{image.size / 2**20:.0f} MiB" for image in images.values()
        },
        "uid": sorted({image.uid_gid[0] for image in images.values()}),
        "build_tools": sum("build tool" in fault for fault in faults),
        "task": task.get("state"),
        **({"read_by": task.get("engine")} if paddle else {}),
        "services": len(containers),
        "ready_seconds": seconds,
        "stop_seconds": round(max(took for _, took in stops.values()), 1),
        "arm64_wheels_missing": len(on_arm),
        "faults": faults + on_arm,
    }
    print("RESULT", json.dumps(result))
    return 1 if result["faults"] else 0


def _started(
    stack: ExitStack,
    services: Mapping[str, Service],
    images: Mapping[str, Image],
    nets: Networks,
    folder: Path,
) -> dict[str, Container]:
    volumes, running = folder / "volumes", folder / "containers"
    volumes.mkdir()
    running.mkdir()
    containers = {}
    for name in in_order(services):
        service = services[name]
        container = Container(service, images[service.image], nets.path(name), running)
        stack.callback(container.kill)
        container.start(nets.hosts_file(name), volumes)
        containers[name] = container
    return containers


@contextmanager
def _redis(folder: Path, nets: Networks) -> Iterator[None]:
    """This machine's Redis, alone on the external network."""
    data = folder / "redis"
    data.mkdir()
    argv = f"redis-server --bind 0.0.0.0 --protected-mode no --appendonly yes --dir {data}".split()
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(["nsenter", f"--net={nets.path('redis')}", *argv], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def _wait(containers: Mapping[str, Container]) -> float | None:
    """Wait until every health check of the compose file says yes; gives the seconds."""
    began = time.monotonic()
    missing = dict(containers)
    while time.monotonic() - began < _READY_SECONDS:
        missing = {name: container for name, container in missing.items() if not container.healthy()}
        if not missing:
            return round(time.monotonic() - began, 1)
        if any(container.ended for container in missing.values()):
            break
        time.sleep(0.5)
    print(f"images: not healthy: {', '.join(missing)}; the ends of all logs:", file=sys.stderr)
    for name, container in containers.items():
        print(f"--- {name}", container.log.read_text()[-2000:], sep="\n", file=sys.stderr)
    return None


def _bring_networks(ocr: Container, volumes: Path) -> None:
    """Have the image's own Paddle write two networks into its volume, and put them among the models."""
    shutil.copy(ROOT / "tests/engines/tiny_paddle.py", volumes / "ocr")
    made = ocr.run_inside("python", "/var/lib/yivideo/tiny_paddle.py", "/var/lib/yivideo/tiny", timeout=300)
    if made.returncode:
        print(f"images: Paddle writes no network: {made.stderr[-2000:]}", file=sys.stderr)
        return
    for name in _PADDLE_FOLDERS.values():
        shutil.copytree(volumes / "ocr/tiny" / name, volumes / "models" / name)


def _run_task(folder: Path, nets: Networks, *, paddle: bool) -> dict[str, Any]:
    """Have a client on the outer network run one task; gives what came of it and what of its output is on disk."""
    film, out = folder / "film.mp4", folder / "out"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=s=320x180:d=2", "-f", "lavfi", "-i", "sine=440:d=2", film],
        check=True, timeout=60,
    )  # fmt: skip
    pictures = []
    if paddle:
        pictures = [folder / "picture.png"]
        bright = "color=black:s=900x480,drawbox=100:60:600:30:white:fill,drawbox=200:300:600:30:white:fill"
        subprocess.run(
            ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", bright, "-frames:v", "1", *pictures],
            check=True, timeout=60,
        )  # fmt: skip
    key = (folder / "secrets/api_key").read_text().strip()
    done = subprocess.run(
        ["nsenter", f"--net={nets.path('client')}", sys.executable, "-m", "tests.images.task",
         f"http://{nets.address('gateway', 'outside')}:8788", film, out, *pictures],
        env={**os.environ, "YIVIDEO_API_KEY": key}, capture_output=True, text=True, timeout=450, check=False, cwd=ROOT,
    )  # fmt: skip
    if done.returncode:
        return {"state": "client failed", "error": done.stderr[-2000:]}
    sounds = list(out.rglob("*.wav"))
    probed = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "stream=sample_rate,duration", "-of", "csv=p=0", *sounds],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return {**json.loads(done.stdout), "probed": probed.stdout.strip()}


def _task_faults(task: Mapping[str, Any], *, paddle: bool) -> list[str]:
    """What is wrong about what the client saw: a node without task types, not two seconds of sound at the rate it asked for, or
    lines that PaddleOCR did not find where the picture is bright.
    """
    absent = {row.task_prefix for row in read_node_table()} - set(task.get("nodes", ()))
    faults = [f"{node}: publishes no task type" for node in sorted(absent)]
    rate, _, seconds = str(task.get("probed", "")).partition(",")
    if task.get("state") != "completed" or rate != "16000" or abs(float(seconds or 0) - 2) >= 0.1:
        faults.append(f"the task: {task or 'not run'}")
    if paddle and (task.get("read"), task.get("engine"), task.get("lines")) != ("completed", "paddleocr", 2):
        faults.append(f"the picture: {task.get('error') or task}")
    return faults


def _laws(containers: Mapping[str, Container], nets: Networks) -> list[str]:
    """What is wrong about how they run."""
    laws: tuple[Callable[[Container], str], ...] = (_no_rights, _read_only, _reaps)
    faults = [
        f"{name}: {fault}"
        for name, container in containers.items()
        for law in laws
        if (fault := law(container))
    ]
    ask_redis = f"import socket; socket.create_connection(('{nets.address('redis')}', 6379), 2)"
    if containers["ffmpeg"].run_inside("python", "-c", ask_redis).returncode == 0:
        faults.append("ffmpeg: reaches Redis")
    if containers["scheduler"].run_inside("python", "-c", ask_redis).returncode != 0:
        faults.append("scheduler: does not reach Redis")
    return faults


def _no_rights(container: Container) -> str:
    texts = container.processes("status")
    if not texts:
        return "none of its processes is seen"
    for text in texts:
        status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        if (
            "0" in status["Uid"].split()
            or int(status["CapPrm"], 16)
            or int(status["CapBnd"], 16)
            or status["NoNewPrivs"] != "1"
        ):
            return f"{status['Name']} has rights: uid {status['Uid']}, bounding set {status['CapBnd']}"
    return ""


def _read_only(container: Container) -> str:
    """Everything that its user could write to on a writable root must refuse; /tmp must not."""
    tried = container.run_inside(
        "sh", "-c", "touch /tmp/written && ! touch /written /opt/yivideo/written /opt/venv/written"
    )
    mounts = container.run_inside("cat", "/proc/self/mounts").stdout.splitlines()
    root = [line.split()[3].split(",") for line in mounts if line.split()[1] == "/"]
    return "" if tried.returncode == 0 and "ro" in root[-1] else f"its root can be written: {tried.stderr}"


def _reaps(container: Container) -> str:
    """A child whose parent has gone must go, too, when it ends, and not stay as a zombie."""
    container.run_inside("sh", "-c", "(sleep 0.1 &)")
    until = time.monotonic() + 5
    while time.monotonic() < until:
        if not any("(sleep)" in stat for stat in container.processes("stat")):
            return ""
        time.sleep(0.1)
    return "orphans stay as zombies"


if __name__ == "__main__":
    sys.exit(main())
