"""/v1/status: what is said of the installation, to people and to machines, also while parts of it are down."""

from __future__ import annotations

import json
import socket
import time
from html import escape
from html.parser import HTMLParser
from typing import Any

import pytest

from gateway.clients.backend import open_backend
from gateway.settings import GatewaySection, GatewaySettings
from gateway.use.parts import Part, Parts, look
from gateway.v1.routes.status import prefers_html
from gateway.v1.status_page import PAGE_POLICY, status_page
from gateway.v1.status_presenter import installation_status
from runtime import VERSION
from tests.gateway.conftest import RUNTIME, Harness
from yivideo.file.v1 import file_pb2
from yivideo.gpulock.v1 import monitor_pb2
from yivideo.task.v1 import task_pb2
from yivideo_client.cli.status import print_status


async def shown(harness: Harness, accept: str = "application/json") -> Any:
    """The status as JSON, or the page's text and headers."""
    async with harness.http.get("/v1/status", headers={"Accept": accept}) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Vary"] == "Accept"
        if response.content_type == "application/json":
            return await response.json()
        return await response.text(), response.headers


async def test_a_machine_gets_everything(harness: Harness) -> None:
    """Parts with versions, capacity, the oldest wait, each node's queue."""
    found = await shown(harness)
    assert found["version"] == VERSION
    states = {part["name"]: part["state"] for part in found["parts"]}
    assert states["gateway"] == states["scheduler"] == "serving"
    assert set(states) == {"gateway", "scheduler", "filestore", "gpulock"}
    assert found["capacity"] == {
        "slots": 2, "free_slots": 0, "running": 2, "waiting": 3, "oldest_wait_seconds": 1.25,
    }  # fmt: skip
    (node,) = found["nodes"]
    assert (node["node"], node["ready"], node["replica_list"]) == ("ffmpeg", 3, [])
    assert found["status"] == "degraded", "tasks wait and no replica is there"
    assert found["problems"] == ["3 tasks wait for node ffmpeg, of which no replica is there"]


async def test_a_part_that_is_down_is_a_part_of_the_answer(harness: Harness) -> None:
    """The page comes all the same, in bounded time, and names the part and its error."""
    await harness.scheduler_server.drain()
    began = time.monotonic()
    found = await shown(harness)
    assert time.monotonic() - began < 4
    assert (found["status"], found["nodes"], found["capacity"]) == ("down", None, None)
    (scheduler,) = [part for part in found["parts"] if part["name"] == "scheduler"]
    assert scheduler["state"] == "unreachable"
    assert scheduler["error"]
    page, _ = await shown(harness, "text/html")
    assert "unreachable" in page and "cannot be asked" in page
    assert found["problems"] == [f"scheduler is unreachable: {scheduler['error']}"]


async def test_a_part_that_says_nothing_is_not_waited_for() -> None:
    """Whoever takes connections and never answers counts as unreachable when its time is over, and holds up nobody else."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        section = GatewaySection(scheduler_address=address, filestore_address=address)
        async with open_backend(GatewaySettings(runtime=RUNTIME, gateway=section)) as backend:
            began = time.monotonic()
            found = await look(backend, seconds=0.3)
            assert time.monotonic() - began < 3
    assert (found.scheduler.found, found.filestore.found, found.gpulock) == (None, None, None)
    assert found.scheduler.error and found.filestore.error


async def test_a_browser_gets_a_page_that_needs_nothing_else(harness: Harness) -> None:
    """HTML whose policy lets nothing be loaded, and which refers to nothing."""
    page, headers = await shown(harness, "text/html,application/xhtml+xml,*/*;q=0.8")
    assert headers["Content-Security-Policy"] == PAGE_POLICY
    assert "unsafe" not in PAGE_POLICY and "http" not in PAGE_POLICY
    tags = Tags()
    tags.feed(page)
    assert not tags.names & {"script", "link", "img", "iframe", "form", "a"}
    assert not tags.attributes & {"src", "href", "onclick", "style"}
    assert "ffmpeg" in page


class Tags(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/html", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("application/json, text/html;q=0.5", False),
        ("text/html;q=0", False),
        ("text/html;q=none", False),
    ],
)
def test_who_prefers_a_page(accept: str, page: bool) -> None:
    """Browsers say so; what does not is a machine."""
    assert prefers_html(accept) is page


def parts(**changed: Any) -> Parts:
    """An installation in which all is well."""
    replica = task_pb2.NodeReplica(
        address="10.0.0.7:1", replica="asr-1", connected=True, slot_count=2, free_slot_count=1, engines=["whisper/1"],
        warm_models=["<b>large</b>"], version="9.9",
    )  # fmt: skip
    queue = task_pb2.Queue(node="asr", replica_count=1, slot_count=2, replicas=[replica])
    given: dict[str, Any] = {
        "scheduler": task_pb2.ListQueuesResponse(queues=[queue], scheduler_count=2, version="9.8"),
        "filestore": file_pb2.GetStorageResponse(healthy=True, version="9.7"),
        "gpulock": monitor_pb2.GetStatusResponse(devices=[monitor_pb2.Device(device="gpu-0", memory_mib=8)]),
        **changed,
    }
    return Parts(**{name: one and Part(one, "", 1.0) for name, one in given.items()})


def test_a_node_shows_its_replicas_engines_models_and_versions() -> None:
    """What a replica says of itself is told to machines as it is and to people escaped."""
    status = installation_status(parts(), draining=False)
    assert status.status == "ok"
    assert status.nodes is not None
    (replica,) = status.nodes[0].replica_list
    assert (replica.state, replica.engines, replica.models, replica.version) == (
        "connected", ["whisper/1"], ["<b>large</b>"], "9.9",
    )  # fmt: skip
    assert {part.name: (part.version, part.replicas) for part in status.parts}["scheduler"] == ("9.8", 2)
    page = status_page(status)
    assert "&lt;b&gt;large&lt;/b&gt;" in page and "<b>large" not in page


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"filestore": file_pb2.GetStorageResponse(healthy=False)}, "down"),
        ({"gpulock": monitor_pb2.GetStatusResponse(recovering=True)}, "degraded"),
        ({"gpulock": None}, "ok"),
        (
            {"scheduler": task_pb2.ListQueuesResponse(queues=[task_pb2.Queue(node="x", problems=["no"])])},
            "degraded",
        ),
    ],
)
def test_the_one_word(changed: dict[str, Any], expected: str) -> None:
    """down: no task can be run; degraded: something is wrong; an installation without a lock service lacks nothing."""
    status = installation_status(parts(**changed), draining=False)
    assert (status.status, bool(status.problems)) == (expected, expected != "ok")
    assert all(escape(problem) in status_page(status) for problem in status.problems)
    leaving = installation_status(parts(), draining=True)
    assert (leaving.status, leaving.problems) == ("degraded", ["gateway is draining"])


def test_each_cause_of_the_word_has_its_sentence() -> None:
    """A part's error, a node that nobody runs while a task waits, and what is wrong with a node, all at once."""
    waited = task_pb2.Queue(node="asr", ready_count=1, problems=["10.0.0.7:1 cannot be reached"])
    idle = task_pb2.Queue(node="tts")
    changed = {
        "scheduler": task_pb2.ListQueuesResponse(queues=[waited, idle]),
        "gpulock": monitor_pb2.GetStatusResponse(recovering=True),
    }
    assert installation_status(parts(**changed), draining=False).problems == [
        "gpulock is failing: grants pause while leases are reclaimed",
        "1 task waits for node asr, of which no replica is there",
        "node asr: 10.0.0.7:1 cannot be reached",
    ]


def test_the_command_line_shows_the_problems(capsys: pytest.CaptureFixture[str]) -> None:
    """`yivideo status` has each sentence under the word that it explains."""
    waited = task_pb2.Queue(node="asr", ready_count=1)
    status = installation_status(
        parts(scheduler=task_pb2.ListQueuesResponse(queues=[waited])), draining=False
    )
    print_status(json.loads(status.to_json()))
    assert "1 task waits for node asr, of which no replica is there" in capsys.readouterr().out
