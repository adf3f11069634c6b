"""A large engine in its own environment: made, given a tiny model, and asked to do its node's task twice."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import ROOT


@dataclass(frozen=True)
class LargeEngine:
    """A large engine and how a test gets at it."""

    environment: str
    """Folder below `.environments`."""
    setup: tuple[str, ...]
    """What makes it, below the root."""
    maker: str
    """Module that writes a tiny model's folder."""
    module: str
    task: str

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(ROOT / ".environments" / self.environment / "bin" / "python")

    def make(self, folder: Path) -> None:
        """Make the environment, if it is not there, and a tiny model."""
        subprocess.run([ROOT / self.setup[0], *self.setup[1:]], check=True, cwd=ROOT, timeout=900)
        self._run(["-m", self.maker, str(folder)], {}, 300)

    def results(
        self, folder: Path, task_input: Mapping[str, Any], settings: Mapping[str, str], task: str = ""
    ) -> list[dict[str, Any]]:
        """Run its task twice in a node in `folder`, with settings by their variables; returns what came of both, fields and all."""
        given = [self.module, str(folder), task or self.task, json.dumps(task_input)]
        done = self._run(["-m", "tests.engines.run_task", *given], settings, 800)
        results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        assert len(results) == 2, done.stdout + done.stderr
        return results

    def _run(
        self, arguments: list[str], settings: Mapping[str, str], seconds: float
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **settings, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [self.python, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done


def completed(results: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return both results of a task that came to its end."""
    first, second = results
    assert (first["outcome"], second["outcome"]) == ("completed", "completed"), results
    return first, second
