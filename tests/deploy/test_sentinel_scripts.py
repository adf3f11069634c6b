"""Scripts of components/sentinel, with real servers under a StatefulSet's host names: who is primary, before and after one dies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.deploy.kustomize import render_components
from tests.deploy.manifests import Render

_PASSWORD = "pass-of-the-test"
_WAIT_SECONDS = 60.0
_PODS = {
    f"{name}-{number}": f"127.79.{group}.{number + 1}"
    for group, name in enumerate(("redis", "sentinel"))
    for number in range(3)
}


def may_unshare() -> bool:
    """Whether this machine lets us give processes a host name and a list of hosts of their own."""
    return shutil.which("unshare") is not None and not subprocess.run(
        ["unshare", "-mu", "true"], capture_output=True, check=False
    ).returncode  # fmt: skip


class Pods:
    """Pods of the component, each a process that believes itself on a host of its pod's name."""

    def __init__(self, render: Render, folder: Path) -> None:
        self._render, self._folder = render, folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        hosts = [f"{address} {pod}.{pod[:-2]}.yivideo.svc" for pod, address in _PODS.items()]
        # The other group is not looked at here, but its name must resolve.
        hosts.append("127.79.9.1 lease-redis-0.lease-redis.yivideo.svc")
        (folder / "hosts").write_text("127.0.0.1 localhost\n" + "\n".join(hosts) + "\n")

    def start(self, pod: str) -> None:
        """Start a pod's script, with what it has kept on its volume."""
        service, home = pod[:-2], self._folder / pod
        workload = self._render.workload(service)
        assert workload is not None
        (home / "data").mkdir(parents=True, exist_ok=True)
        (home / "etc").mkdir(exist_ok=True)
        config = workload.mounts["/etc/redis"]["configMap"]["name"]
        for one in self._render.of("ConfigMap"):
            if one["metadata"]["name"] == config:
                for name, text in one["data"].items():
                    text = text.replace("/etc/redis", str(home / "etc")).replace("/data", str(home / "data"))
                    # In a pod each has all addresses to itself.
                    bind = f"bind {_PODS[pod]}"
                    text = text.replace("appendonly yes", f"appendonly yes\n{bind}").replace(
                        '"port 26379"', f'"port 26379" "{bind}"'
                    )
                    (home / "etc" / name).write_text(text)
        script = (
            f"mount --bind {self._folder}/hosts /etc/hosts && hostname {pod} && exec sh {home}/etc/start.sh"
        )
        given = {
            "PATH": os.environ["PATH"],
            **workload.environment({"redis-password": _PASSWORD}),
            "REDIS_PASSWORD": _PASSWORD,
        }
        with (home / "log").open("ab") as log:
            self.running[pod] = subprocess.Popen(
                ["unshare", "-mu", "sh", "-c", script], env=given, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )  # fmt: skip

    def end(self, pod: str, number: signal.Signals) -> int:
        """Signal a pod's first process and wait for its end."""
        self.running[pod].send_signal(number)
        return self.running[pod].wait(20)

    def ask(self, pod: str, *words: str) -> object:
        """Give what a pod answers a command; None while it does not."""
        port = 26379 if pod.startswith("sentinel") else 6379
        try:
            with redis.Redis(
                _PODS[pod], port, password=_PASSWORD, socket_timeout=2, decode_responses=True
            ) as client:
                return client.execute_command(*words)
        except redis.RedisError:
            return None

    def found(self, sentinel: str) -> tuple[int, int]:
        """How many other sentinels, and how many replicas, one has found by the primary."""
        try:
            with redis.Redis(_PODS[sentinel], 26379, password=_PASSWORD, socket_timeout=2) as client:
                state = client.sentinel_master("tasks")
        except redis.RedisError:
            return 0, 0
        return int(state["num-other-sentinels"]), int(state["num-slaves"])

    def role(self, pod: str) -> object:
        """`master`, `slave` or None."""
        answer = self.ask(pod, "ROLE")
        return answer[0] if isinstance(answer, list) else None


@pytest.fixture
def pods(kubectl: str, tmp_path: Path) -> Iterator[Pods]:
    if shutil.which("redis-server") is None or not may_unshare():
        pytest.skip("needs redis-server, and root for host names")
    made = Pods(Render("sentinel", render_components(kubectl, ("sentinel",))), tmp_path)
    yield made
    for process in made.running.values():
        process.kill()
        process.wait()


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + _WAIT_SECONDS
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_primary_that_dies_is_followed_and_comes_back_as_a_replica(pods: Pods) -> None:
    """The first is primary; when it dies another one is, with what a replica had; restarted it follows that one."""
    for pod in _PODS:
        pods.start(pod)
    until(lambda: pods.role("redis-0") == "master" and len(pods.ask("redis-0", "ROLE")[2]) == 2)  # type: ignore[index]
    assert [pods.role(f"redis-{number}") for number in (1, 2)] == ["slave", "slave"]
    for number in range(3):
        until(lambda one=f"sentinel-{number}": pods.found(one) == (2, 2))  # type: ignore[misc]
    assert pods.ask("redis-0", "SET", "kept", "yes")
    assert pods.ask("redis-0", "WAIT", "1", "2000") in (1, 2)
    pods.end("redis-0", signal.SIGKILL)
    until(lambda: "master" in (pods.role("redis-1"), pods.role("redis-2")))
    primary = next(pod for pod in ("redis-1", "redis-2") if pods.role(pod) == "master")
    assert pods.ask(primary, "GET", "kept") == "yes"
    until(
        lambda: (
            pods.ask("sentinel-2", "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "tasks")
            == [f"{primary}.redis.yivideo.svc", "6379"]
        )
    )
    pods.start("redis-0")
    until(lambda: pods.role("redis-0") == "slave")
    assert pods.ask("redis-0", "ROLE")[1] == f"{primary}.redis.yivideo.svc"  # type: ignore[index]
    until(lambda: pods.ask("redis-0", "GET", "kept") == "yes")
    # SIGTERM reaches the servers themselves: no shell stands in front of them.
    assert [pods.end(pod, signal.SIGTERM) for pod in ("redis-0", "sentinel-0")] == [0, 0]
