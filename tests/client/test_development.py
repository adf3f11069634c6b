"""What those use who write nodes, or what receives callbacks: the node that reloads, the receiver that verifies."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT
from yivideo_client.callbacks import BadSecret, CallbackReceiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@asynccontextmanager
async def started(*words: str, cwd: Path = ROOT) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a command; it is gone after the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "yivideo_client.cli.start", *words, cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


@pytest.mark.parametrize("secret", ["nope", "whsec_", "whsec_%%%", ""])
def test_what_is_no_secret_is_not_listened_with(secret: str) -> None:
    """It would refuse every callback, and its user would look elsewhere."""
    with pytest.raises(BadSecret):
        CallbackReceiver(secret)


async def test_a_request_that_is_not_believed_is_told() -> None:
    """Whoever develops sees that something came, and why it was refused; the command ends when it is told to."""
    command = started("webhook", "listen", "--secret", SECRET, "--port", "0")
    async with command as listening, asyncio.timeout(30):
        assert listening.stderr is not None
        address = re.search(r"http://\S+", (await listening.stderr.readline()).decode())
        assert address is not None

        def posted() -> None:
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(address[0], b"{}")

        await asyncio.to_thread(posted)
        assert (await listening.stderr.readline()).startswith(b"yivideo: refused a request: ")
        listening.send_signal(signal.SIGTERM)
        await listening.communicate()
    assert listening.returncode == 143


@pytest.mark.parametrize("module", ["nosuch", "no.such", "broken.node"])
async def test_a_module_that_is_not_there(module: str, tmp_path: Path) -> None:
    """It is named, whatever looking for it does."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "__init__.py").write_text("1 / 0")
    async with started("dev", "node", module, cwd=tmp_path) as node:
        _, said = await node.communicate()
    assert node.returncode == 2 and module in said.decode() and "Traceback" not in said.decode()


async def test_a_node_starts_again_and_ends_with_its_command(tmp_path: Path) -> None:
    """One that breaks is started when a file changes; told to end, the command leaves no node behind."""
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("1 / 0")
    async with started("dev", "node", "mine", cwd=tmp_path) as node, asyncio.timeout(30):
        assert node.stdout is not None and node.stderr is not None
        while b"starts again when a file changes" not in await node.stderr.readline():
            pass
        (package / "__main__.py").write_text(
            "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
        )
        child = int(await node.stdout.readline())
        node.send_signal(signal.SIGTERM)
        await node.communicate()
    assert node.returncode == 143
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
