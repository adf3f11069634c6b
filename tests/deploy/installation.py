"""A render, run on this machine: each workload's process with its own arguments, environment and files, at an address of its own.

What a cluster would do is done by substitution, and nothing else is changed: a Service's name becomes its pod's loopback address,
`0.0.0.0` too, a mount's path becomes a folder, cert-manager's Secrets become certificates of an authority of the run. In place of
the embedded S3's image runs a radosgw, where this machine has one.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploy.kustomize import ROOT
from tests.deploy.manifests import Render, Workload
from tests.deploy.secret import secret_values
from tests.deploy.sockets import Place
from tests.runtime.certificates import Authority, make_authority
from tests.s3.radosgw import S3Server

_STOP_SECONDS = 30.0


@dataclass
class Installation:
    """Workloads that run."""

    render: Render
    folder: Path
    addresses: dict[str, str]
    """Each workload's loopback address."""
    s3: S3Server | None
    authority: Authority
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def roots(self) -> dict[int, str]:
        """Workloads by the process that was started for each."""
        return {process.pid: name for name, process in self.processes.items()}

    def place(self, workload: Workload, port: int) -> Place:
        """Where a port of a workload is here."""
        if workload.name == "s3" and self.s3 is not None:
            return self.s3.host, self.s3.port
        return self.addresses[workload.name], port

    @property
    def targets(self) -> dict[Place, str]:
        """Workloads by each place that they listen at."""
        return {
            self.place(workload, port): workload.name
            for workload in self.render.workloads
            for port in workload.ports.values()
        }

    def files_of(self, workload: Workload, path: str) -> Path:
        """The folder that stands for a path that something is mounted at."""
        return self.folder / workload.name / path.strip("/").replace("/", "-")

    def translated(self, workload: Workload, text: str) -> str:
        """Return a text of the manifests with this machine's addresses and folders."""
        text = text.replace("0.0.0.0:", f"{self.addresses[workload.name]}:")
        for name in self.render.services:
            targets = self.render.selected({"matchLabels": self.render.services[name]["spec"]["selector"]})
            pattern = rf"(?<![\w.-]){name}(?:\.yivideo\.svc)?:(\d+)"
            for match in set(re.findall(pattern, text)):
                host, port = self.place(targets[0], int(match))
                text = re.sub(rf"(?<![\w.-]){name}(?:\.yivideo\.svc)?:{match}\b", f"{host}:{port}", text)
        # At once: the folder that stands for one path may lie below another.
        paths = "|".join(map(re.escape, sorted(workload.mounts, key=len, reverse=True)))
        return re.sub(
            rf"(?<![\w:/.])(?:{paths})(?=[/\s\"']|$)",
            lambda found: str(self.files_of(workload, found[0])),
            text,
        )

    def prepare(self, workload: Workload) -> None:
        """Fill the workload's folders as a kubelet would."""
        for path, volume in workload.mounts.items():
            folder = self.files_of(workload, path)
            folder.mkdir(parents=True)
            if "configMap" in volume:
                name = volume["configMap"]["name"]
                for one in self.render.of("ConfigMap"):
                    if one["metadata"]["name"] == name:
                        for file, text in one["data"].items():
                            (folder / file).write_text(self.translated(workload, text))
            secret = volume.get("secret", {}).get("secretName", "")
            for one in self.render.of("Certificate"):
                if one["spec"]["secretName"] == secret:
                    self.write_certificate(one["spec"]["dnsNames"], folder)

    def write_certificate(self, names: list[str], folder: Path) -> None:
        """Write what cert-manager would write into a Secret."""
        certificate, key = self.authority.sign(names[1] if len(names) > 1 else names[0], *names)
        (folder / "tls.crt").write_bytes(certificate.read_bytes())
        (folder / "tls.key").write_bytes(key.read_bytes())
        (folder / "ca.crt").write_bytes(self.authority.certificate.read_bytes())

    def start(self, workload: Workload) -> None:
        """Start the workload's one process."""
        own = dict(secret_values())
        if self.s3 is not None:
            own |= {"s3-access-key": self.s3.access_key, "s3-secret-key": self.s3.secret_key}
        inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        given = {name: self.translated(workload, value) for name, value in workload.environment(own).items()}
        if "YIVIDEO_MODELS" in given and os.environ.get("YIVIDEO_MODELS"):
            given["YIVIDEO_MODELS"] = os.environ["YIVIDEO_MODELS"]
        if workload.name == "filestore" and self.s3 is None:
            given |= {
                "YIVIDEO_FILESTORE__BACKEND": "local",
                "YIVIDEO_FILESTORE__ROOT": str(self.folder / "files"),
            }
        arguments = [self.translated(workload, one) for one in workload.container.get("args", [])]
        if workload.module:
            command = [sys.executable, "-m", *arguments]
        else:
            command = [*workload.container["command"], *arguments]
            if workload.labels.get("yivideo.dev/role") == "redis":
                # In a pod it has all addresses to itself.
                command[-1] = command[-1].replace(
                    "include ", f"bind {self.addresses[workload.name]}\ninclude ", 1
                )
        log = (self.folder / f"{workload.name}.log").open("wb")
        with log:
            self.processes[workload.name] = subprocess.Popen(
                command, cwd=ROOT, env=inherited | given, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def log_of(self, name: str) -> str:
        """The end of what a workload's process has said."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]

    def stop(self) -> dict[str, int]:
        """Stop in the order of trust, as the manifests' times have it in a cluster; gives how each ended."""
        order = {"gateway": 0, "scheduler": 2, "gpulock": 3, "filestore": 4}
        for name in sorted(
            self.processes, key=lambda name: order.get(name, 1 if name.startswith("node-") else 5)
        ):
            self.processes[name].terminate()
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
        return {name: int(process.returncode) for name, process in self.processes.items()}


@contextmanager
def installed(render: Render, folder: Path, s3: S3Server | None) -> Iterator[Installation]:
    """Run every workload of a render for the time of the block; they may not be ready yet."""
    addresses = {
        workload.name: f"127.77.{number}.1" for number, workload in enumerate(render.workloads, start=1)
    }
    made = Installation(render, folder, addresses, s3, make_authority(folder, "authority"))
    try:
        for workload in render.workloads:
            if workload.name == "s3":
                continue
            made.prepare(workload)
            made.start(workload)
        yield made
    finally:
        made.stop()
