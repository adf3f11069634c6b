"""The command as a process: what it does with its streams, its signals, and words that stand anywhere."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from tests.client.conftest import ScriptedServer
from tests.client.test_watch import written
from tests.conftest import ROOT
from tests.signals import heeded
from yivideo_client.cli.failures import UsageError, tell
from yivideo_client.cli.file_commands import destinations
from yivideo_client.cli.lazy_group import hoisted
from yivideo_client.cli.output import print_table
from yivideo_client.cli.plain import plain

FIELDS = {
    "type": "object",
    "properties": {"seconds": {"type": "integer", "minimum": 0}, "film_path": {"type": "string"}},
}
TYPES = {
    "task_types": [
        {"name": "n.t", "description": "Does it.", "input_schema": FIELDS, "media_fields": ["/film_path"]},
        *({"name": f"n.t{n}", "description": "x" * 100} for n in range(2000)),
    ]
}


class Gateway:
    """Has one task, which does not end by itself."""

    def __init__(self) -> None:
        self.submitted, self.watched, self.cancelled = (asyncio.Event() for _ in range(3))
        self.answers = asyncio.Event()
        """When a submission is answered."""
        self.answers.set()
        self.end: dict[str, Any] = {"task_id": "t-1", "task_name": "n.t", "status": "cancelled"}

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/task-types":
            return web.json_response(TYPES)
        if request.path.startswith("/v1/files"):
            return web.json_response({"code": "FILE_NOT_FOUND", "detail": "it is not there"}, status=404)
        if request.method == "POST":
            self.submitted.set()
            await self.answers.wait()
            return web.json_response({"task_id": "t-1", "status": "pending"}, status=202)
        if request.method == "DELETE":
            self.cancelled.set()
            return web.json_response({"task_id": "t-1", "status": "cancelled"})
        if request.path.endswith("/events"):
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await response.write(written(1, "accepted"))
            self.watched.set()
            await self.cancelled.wait()
            await response.write(written(2, self.end["status"]))
            return response
        return web.json_response(self.end)


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """What is started here can be interrupted."""
    with heeded():
        yield


@pytest.fixture
def gateway(server: ScriptedServer) -> Gateway:
    """What the server is."""
    server.handler = made = Gateway()
    return made


@asynccontextmanager
async def started(
    server: ScriptedServer, *words: str, **options: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a command; it is gone after the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "yivideo_client.cli.start", "--url", server.url, *words, cwd=ROOT,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def done(server: ScriptedServer, *words: str, **options: Any) -> tuple[int | None, str, str]:
    """Run a command; returns its exit code and what it wrote."""
    async with started(server, *words, **options) as process, asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode, (out or b"").decode(), (err or b"").decode()


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize(
    "words", [("types",), ("types", "-o", "json"), ("run", "--help"), ("task", "get", "t-1")]
)
async def test_who_reads_the_output_may_leave(server: ScriptedServer, words: tuple[str, ...]) -> None:
    """A closed pipe ends the command as SIGPIPE would, and nothing is said of it."""
    out, into = os.pipe()
    os.close(out)
    try:
        code, _, said = await done(server, *words, stdout=into)
    finally:
        os.close(into)
    assert (code, said) == (141, "")


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize(
    "words", [("types",), ("types", "-o", "json"), ("types", "n.t"), ("task", "get", "t-1")]
)
async def test_a_full_disk_behind_the_output(server: ScriptedServer, words: tuple[str, ...]) -> None:
    """It is told, with the code of local files, and there is no traceback."""
    with Path("/dev/full").open("wb") as full:
        assert await done(server, *words, stdout=full) == (8, "", "yivideo: no space left on device\n")


@pytest.mark.usefixtures("gateway")
async def test_streams_that_are_closed(server: ScriptedServer) -> None:
    """A command works without them; what belongs on one does not go to the other."""
    shell = f'exec {sys.executable} -m yivideo_client.cli.start --url {server.url} "$@"'
    for closed, words, said in (
        (">&-", ("types",), (0, "", "")),
        ("2>&-", ("file", "rm", "nope"), (4, "", "")),
        (
            "<&-",
            ("file", "put", "-", "x"),
            (8, "", "yivideo: x: the file is empty, and no such file is stored\n"),
        ),
        ("<&-", ("task", "get", "t-1"), None),
    ):
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", f"{shell} {closed}", "sh", *words, cwd=ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert said is None or (process.returncode, out.decode(), err.decode()) == said
        assert process.returncode in (0, 4, 8)


@pytest.mark.parametrize("moment", ["submitted", "watched"])
@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "told to end")]
)
async def test_an_end_from_outside_cancels_what_was_accepted(
    server: ScriptedServer, gateway: Gateway, moment: str, number: int, code: int, said: str
) -> None:
    """At any moment, also while the submission is being answered: nobody knows the task's id yet, and it runs."""
    if moment == "submitted":
        gateway.answers.clear()
    async with started(server, "run", "n.t", "--seconds", "1") as process, asyncio.timeout(30):
        await getattr(gateway, moment).wait()
        process.send_signal(number)
        if moment == "submitted":
            await asyncio.sleep(0.1)
            gateway.answers.set()
        _, err = await process.communicate()
    assert (process.returncode, gateway.cancelled.is_set()) == (code, True)
    assert err.decode().splitlines()[-2:] == ["yivideo: cancels t-1", f"yivideo: {said}"]


def test_it_can_be_interrupted_while_it_is_loaded() -> None:
    """Ctrl-C before the first command's code is there ends it without a traceback."""
    program = (
        "import os, signal, sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'yivideo_client.cli.main': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "from yivideo_client.cli.start import main; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")


@pytest.mark.usefixtures("gateway")
async def test_words_are_read_wherever_they_stand(server: ScriptedServer, tmp_path: Path) -> None:
    """Behind `--` stand files, whatever they look like; what the schema refuses is refused before anything is sent."""
    code, _, said = await done(server, "run", "n.t", "--", "--seconds")
    assert code == 2 and "--seconds: no such file here" in said
    code, _, said = await done(server, "run", "n.t", "-")
    assert code == 2 and "file put" in said
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film")
    code, _, said = await done(server, "run", "n.t", str(film), "--seconds", "-1")
    assert code == 2 and "--seconds: -1 is less than the minimum of 0" in said
    code, _, said = await done(server, "run", "n.t", str(film), "-o", "json")
    assert code == 2 and "--format json" in said
    assert {one.path for one in server.seen} == {"/v1/task-types"}


async def test_every_outcome_is_a_line_of_json(
    server: ScriptedServer, gateway: Gateway, tmp_path: Path
) -> None:
    """One that failed, too: which file it was, and why."""
    gateway.end = {
        "task_id": "t-1", "status": "failed", "error": {"code": "MEDIA_UNREADABLE", "message": "it is no film"},
    }  # fmt: skip
    gateway.cancelled.set()
    code, out, _ = await done(server, "run", "n.t", "--seconds", "1", "--format", "json")
    (line,) = out.splitlines()
    assert code == 1 and orjson.loads(line)["error"]["code"] == "MEDIA_UNREADABLE"
    (tmp_path / "a").write_bytes(b"a")
    code, out, _ = await done(server, "run", "n.t", str(tmp_path / "a"), str(tmp_path / "a"), "--json")
    lines = [orjson.loads(one) for one in out.splitlines()]
    assert code == 4 and [one["error"]["code"] for one in lines] == ["FILE_NOT_FOUND"] * 2
    assert {one["local_input"] for one in lines} == {str(tmp_path / "a")}


async def test_an_outcome_is_written_when_it_has_come(
    server: ScriptedServer, gateway: Gateway, tmp_path: Path
) -> None:
    """Into a pipe each goes at once, while others are under way: an hour's work that is then broken off has told what was done."""
    (tmp_path / "a").write_bytes(b"a")
    files = [str(tmp_path / "a")] * 3
    first = asyncio.Event()

    async def one_ends(request: web.Request) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": "1"})
        if request.method == "POST" and not first.is_set():
            first.set()
            return web.json_response({"code": "REFUSED", "detail": "not this one"}, status=400)
        return await gateway(request)

    server.handler = one_ends
    command = started(server, "run", "n.t", *files, "--jobs", "3", "--json")
    async with command as process, asyncio.timeout(30):
        assert process.stdout is not None
        assert orjson.loads(await process.stdout.readline())["error"]["code"] == "REFUSED"
        await gateway.watched.wait()
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert process.returncode == 143 and gateway.cancelled.is_set()


async def test_what_is_left_of_a_task_that_is_refused(
    server: ScriptedServer, gateway: Gateway, tmp_path: Path
) -> None:
    """Its upload stays: the next run finds it, and perhaps another's that is accepted. That is told, with what removes it."""
    (tmp_path / "a film.mp4").write_bytes(b"a")

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": "1"})
        if request.method == "POST":
            return web.json_response({"code": "NOT_CONFIGURED", "detail": "no model"}, status=409)
        return await gateway(request)

    server.handler = answer
    code, _, said = await done(server, "run", "n.t", str(tmp_path / "a film.mp4"), "-q")
    first, note = said.splitlines()
    assert code == 3 and first == "yivideo: NOT_CONFIGURED: no model"
    assert note.startswith("  its upload is kept for the next run; `yivideo file rm 'uploads/")
    assert {one.method for one in server.seen} == {"GET", "HEAD", "POST"}


async def test_how_an_ended_task_ended_is_asked_for(server: ScriptedServer, gateway: Gateway) -> None:
    """Watched from behind its last event, one that was cancelled has the exit code of one."""

    async def nothing_more(request: web.Request) -> web.StreamResponse:
        return (
            web.Response(status=204) if request.path.endswith("/events") else web.json_response(gateway.end)
        )

    server.handler = nothing_more
    assert await done(server, "task", "watch", "t-1", "--after", "9") == (1, "", "")


async def test_several_are_removed_in_one_command(server: ScriptedServer) -> None:
    """What is not there is named, and keeps none of the others."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/nope"):
            return web.json_response({"code": "FILE_NOT_FOUND", "detail": "no file nope"}, status=404)
        return web.json_response({})

    server.handler = answer
    code, _, said = await done(server, "file", "rm", "a", "nope", "b")
    assert (code, said) == (4, "yivideo: nope: FILE_NOT_FOUND: no file nope\n")
    assert [one.path for one in server.seen] == ["/v1/files/a", "/v1/files/nope", "/v1/files/b"]


async def test_a_question_that_nobody_answers(server: ScriptedServer) -> None:
    """In a script it is the command line that lacks something; it is no task that failed."""
    code, _, said = await done(server, "gpu", "release", "gpu_lock:0", stdin=subprocess.DEVNULL)
    assert code == 2 and "every question is an option" in said


def test_the_roots_options_may_stand_behind_the_command() -> None:
    """As people write them; behind `run`, where a field may have such a name, and behind `--` they stay."""
    assert hoisted(["task", "list", "--profile", "ops", "-n", "3"]) == [
        "--profile",
        "ops",
        "task",
        "list",
        "-n",
        "3",
    ]
    assert hoisted(["file", "ls", "--url=http://a"]) == ["--url=http://a", "file", "ls"]
    assert hoisted(["--url", "u", "run", "n.t", "--url", "v"]) == ["--url", "u", "run", "n.t", "--url", "v"]
    assert hoisted(["workflow", "run", "t", "--profile", "v"]) == ["workflow", "run", "t", "--profile", "v"]
    assert hoisted(["file", "put", "--", "--url"]) == ["file", "put", "--", "--url"]
    assert hoisted(["types", "--url"]) == ["--url", "types"]


def test_where_files_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that ends in / is a folder, which alone takes several; standard input has no name of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("a b.mp4", "c.mp4"):
        (tmp_path / name).write_bytes(b"x")
    assert destinations(["a b.mp4"]) == [("a b.mp4", "a b.mp4")]
    assert destinations(["a b.mp4", "x/y.mp4"]) == [("a b.mp4", "x/y.mp4")]
    assert destinations(["a b.mp4", "c.mp4", "x/"]) == [("a b.mp4", "x/a b.mp4"), ("c.mp4", "x/c.mp4")]
    assert destinations(["-", "x/y.mp4"]) == [("-", "x/y.mp4")]
    for words in (["-"], ["-", "x/"], ["a b.mp4", "c.mp4", "x"]):
        with pytest.raises(UsageError):
            destinations(words)
    for words in (["nope", "x"], [str(tmp_path)], ["c.mp4", "nope", "x/"]):
        with pytest.raises(OSError, match=r"nope|folder"):
            destinations(words)


def test_what_is_copied_from_a_terminal_is_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a narrow terminal the last column gives way; in a pipe nothing does, and rows stay lines."""
    rows = [("task-" + "1" * 36, "completed", "The task\nhas 完了 completed. " * 3)]
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    print_table(("ID", "STATE", "MESSAGE"), rows)
    piped = capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_table(("ID", "STATE", "MESSAGE"), rows)
    head, line = capsys.readouterr().out.splitlines()
    assert "\x1b[1m" in head and line.startswith(rows[0][0]) and line.endswith("…") and len(line) <= 80
    assert piped.splitlines()[1].count("完了") == 3 and "\x1b" not in piped
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(("ID", "STATE", "MESSAGE"), rows)
    assert "\x1b" not in capsys.readouterr().out


def test_text_of_others_cannot_write_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters of a file's name, of a node's log or a server's error are shown as what they are."""
    assert plain("a\x1b[31mb\nc\x07\u202e.mp4") == "a\\x1b[31mb c\\x07\\u202e.mp4"
    assert plain("größe 电影") == "größe 电影"
    tell(ValueError("bad\x1b]0;title\x07"))
    tell(FileNotFoundError(2, "No such file or directory", "a\nb"))
    assert capsys.readouterr().err.splitlines() == [
        "yivideo: bad\\x1b]0;title\\x07", "yivideo: a b: no such file or directory",
    ]  # fmt: skip
