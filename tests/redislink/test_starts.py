"""What a process does at its start while its Redis is not there, or not as the settings say: real processes, told by their log."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bench.redis_group import RedisGroup
from redislink.pipe import Pipe
from redislink.primary import Primary
from redislink.start import await_redis
from runtime.settings import SettingsError

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "redis+sentinel://:hidden@127.0.0.1:1/tasks/0"
DEVICES = '[{"name": "gpu0", "memory_mib": 100}]'


class Starting:
    """A process that starts, and the file of what it says."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self._log = log

    def text(self) -> str:
        return self._log.read_text()

    async def ended(self, seconds: float = 20) -> int:
        return await asyncio.wait_for(self.process.wait(), seconds)

    async def said(self, words: str) -> None:
        async with asyncio.timeout(20):
            while words not in self.text():
                assert self.process.returncode is None, self.text()
                await asyncio.sleep(0.02)


@asynccontextmanager
async def starting(folder: Path, room: str, url: str) -> AsyncIterator[Starting]:
    given = {
        f"YIVIDEO_{room.upper()}__REDIS_URL": url, "YIVIDEO_GPULOCK__DEVICES": DEVICES,
        "YIVIDEO_RUNTIME__LISTEN": "127.0.0.1:0", "YIVIDEO_RUNTIME__METRICS_LISTEN": "",
    }  # fmt: skip
    log = folder / "log.txt"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", room, cwd=ROOT, stdout=file, stderr=file, env={**os.environ, **given}
        )
    try:
        yield Starting(process, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


async def test_a_process_that_waits_for_redis_ends_when_told(tmp_path: Path) -> None:
    """SIGTERM while Redis is not there: the process ends at once and well."""
    async with starting(tmp_path, "scheduler", NOWHERE) as one:
        await one.said("trying again")
        one.process.terminate()
        assert await one.ended(5) == 0, one.text()
    assert "no sentinel of 1 was reached" in one.text()
    assert "Traceback" not in one.text()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisGroup]:
    """One Redis and one sentinel, both with passwords."""
    made = RedisGroup(tmp_path_factory.mktemp("watched"), ("127.0.0.1",), ("127.0.0.1",), sync="everysec")
    with made.running():
        yield made


def _url(form: str, group: RedisGroup) -> str:
    places = {"SENTINEL": group.sentinels[0].place, "SERVER": group.servers[0].place}
    secrets = {"PASSWORD": group.password, "WORD": group.sentinel_password}
    return form.format(**places, **secrets)


WRONG_NAME = "redis+sentinel://:{PASSWORD}@{SENTINEL}/wrong/0?sentinel_password={WORD}"
ENDS = [
    (WRONG_NAME, "no sentinel knows the name 'wrong'"),
    (
        "redis+sentinel://:{PASSWORD}@{SENTINEL}/tasks/0?sentinel_password=hidden",
        "a sentinel refused the password: WRONGPASS",
    ),
    ("redis+sentinel://:{PASSWORD}@{SENTINEL}/tasks/0", "a sentinel refused us: NOAUTH"),
    (
        "redis+sentinel://:{PASSWORD}@{SERVER}/tasks/0?sentinel_password={PASSWORD}",
        "what was asked as a sentinel is none",
    ),
    (
        "redis+sentinel://:hidden@{SENTINEL}/tasks/0?sentinel_password={WORD}",
        "redis refused the password: WRONGPASS",
    ),
    ("redis://:hidden@{SERVER}/0", "redis refused the password: WRONGPASS"),
    ("redis://{SERVER}/0", "redis refused us: NOAUTH"),
    (
        "redis+sentinel://:{PASSWORD}@{SENTINEL}/tasks/77?sentinel_password={WORD}",
        "redis refused database 77: ERR DB index is out of range",
    ),
    (
        "rediss+sentinel://:{PASSWORD}@{SENTINEL}/tasks/0?ssl_ca_certs=/none",
        "ssl_ca_certs, ssl_certfile and ssl_keyfile cannot be used: No such file",
    ),
]


@pytest.mark.parametrize(("form", "words"), ENDS)
async def test_what_waiting_cannot_mend_ends_a_start(watched: RedisGroup, form: str, words: str) -> None:
    """A sentence with the setting's name and the reason, at once; no secret is in it."""
    began = time.monotonic()
    with pytest.raises(SettingsError) as ended:
        await _await(_url(form, watched), 30)
    assert time.monotonic() - began < 5
    assert str(ended.value).startswith("settings: room.redis_url: ")
    assert words in str(ended.value)
    for secret in ("hidden", watched.password, watched.sentinel_password):
        assert secret not in str(ended.value)


AWAY = [
    (NOWHERE, "no sentinel of 1 was reached"),
    ("rediss://:{PASSWORD}@{SERVER}/0", "over TLS"),
    ("rediss+sentinel://:{PASSWORD}@{SENTINEL}/tasks/0", "no sentinel of 1 was reached over TLS"),
    (
        "redis+sentinel://:{PASSWORD}@{SENTINEL},127.0.0.1:1/wrong/0?sentinel_password={WORD}",
        "no sentinel knows the name 'wrong'; 1 of 2 sentinels were not reached",
    ),
]


@pytest.mark.parametrize(("form", "words"), AWAY)
async def test_what_may_come_is_waited_for_and_named(watched: RedisGroup, form: str, words: str) -> None:
    """The reason is in the log, with the setting's name, and at the end of the wait in the sentence."""
    with capture_logs() as lines, pytest.raises(SettingsError, match=r"waited 0\.1 s") as ended:
        await _await(_url(form, watched), 0.1)
    assert words in str(ended.value)
    for line in lines:
        assert (line["setting"], words in line["reason"]) == ("room.redis_url", True)
    assert "hidden" not in f"{ended.value}{lines}"
    assert watched.password not in f"{ended.value}{lines}"


async def _await(url: str, seconds: float) -> None:
    primary = Primary(url, name="starting")
    pipe = Pipe(primary, name="starting", timeout_seconds=1.2)
    try:
        await await_redis(lambda: pipe.call("PING"), seconds, "the store", setting="room.redis_url")
    finally:
        pipe.end()
        primary.end()


async def test_a_process_ends_with_the_sentence_alone(tmp_path: Path, watched: RedisGroup) -> None:
    """Exit code 1, one sentence, no traceback."""
    async with starting(tmp_path, "gpulock", _url(WRONG_NAME, watched)) as one:
        assert await one.ended() == 1
    last = one.text().splitlines()[-1]
    assert last == "settings: gpulock.redis_url: no sentinel knows the name 'wrong'"
    assert "Traceback" not in one.text()
