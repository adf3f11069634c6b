"""Which nodes the stack starts, on which interpreter, and what it says of those that it cannot."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from stack.assembly import Stack
from stack.environments import EnvironmentMissing, Environments, pins, requirement_files
from stack.node_table import NodeRow, RemoteNode, UnknownNode, read_node_table
from stack.part import PartFailed
from stack.placement import addresses_by_task_prefix, place_nodes, start_commands
from stack.settings import StackSection

TABLE = """
[plain]
module = "services.ffmpeg"

[deaf]
module = "services.deaf"
needs = { models = ["faster-whisper-base"] }

[mute]
module = "services.mute"
needs = { commands = ["no-such-command"] }

[large]
module = "services.large"
environment = "paddle"
"""


def section(folder: Path, table: str = TABLE, **settings: Any) -> StackSection:
    file = folder / "nodes.toml"
    file.write_text(table)
    return StackSection(
        folder=folder,
        node_table=file,
        environments=folder / "environments",
        locks=folder / "locks",
        **settings,
    )


def addresses() -> Callable[[str], str]:
    numbers = iter(range(1, 100))
    return lambda _: f"127.0.0.1:{next(numbers)}"


def lock(folder: Path, name: str, text: str) -> None:
    (folder / "locks").mkdir(exist_ok=True)
    (folder / "locks" / f"{name}.txt").write_text(text)


def made(folder: Path, name: str, text: str) -> Path:
    python = folder / "environments" / name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    (folder / "environments" / name / "lock.sha256").write_text(hashlib.sha256(text.encode()).hexdigest())
    return python


def test_what_is_missing_is_named_with_what_to_do_and_the_rest_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, a command, an environment: each left out node says its own reason and the command that mends it."""
    monkeypatch.setenv("YIVIDEO_MODELS", str(tmp_path / "no-models"))
    lock(tmp_path, "paddle", "paddlepaddle==3.2.0 \\\n    --hash=sha256:00\n")
    placed, left_out = place_nodes(section(tmp_path), addresses())
    assert [node.row.name for node in placed] == ["plain"]
    said = {absent.name: " ".join(absent.reasons) for absent in left_out}
    assert "make models names=faster-whisper-base" in said["deaf"]
    assert "no-such-command" in said["mute"]
    assert "make environment name=paddle" in said["large"]


def test_a_node_with_a_lesser_engine_starts_and_says_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that a node prefers and can do without are named with the command that brings them, and leave nothing out."""
    monkeypatch.setenv("YIVIDEO_MODELS", str(tmp_path / "no-models"))
    table = '[hoarse]\nmodule = "services.hoarse"\nprefers = { models = ["kokoro-82m-int8"] }\n'
    placed, left_out = place_nodes(section(tmp_path, table), addresses())
    assert not left_out
    assert "make models names=kokoro-82m-int8" in " ".join(placed[0].lacking)


def test_a_node_that_the_rest_cannot_do_without_stops_the_start(tmp_path: Path) -> None:
    """`optional = false` turns a left out node into an error with the same words."""
    table = '[mute]\nmodule = "services.mute"\noptional = false\nneeds = { commands = ["no-such-command"] }\n'
    with pytest.raises(PartFailed, match="mute: the command no-such-command"):
        place_nodes(section(tmp_path, table), addresses())


def test_nodes_are_picked_by_name(tmp_path: Path) -> None:
    """Only what was named is looked at; a name that no node has is refused with those that there are."""
    placed, left_out = place_nodes(section(tmp_path, only=("plain",)), addresses())
    assert [node.row.name for node in placed] == ["plain"] and not left_out
    with pytest.raises(UnknownNode, match="gone; there are plain, deaf, mute, large"):
        place_nodes(section(tmp_path, only=("gone",)), addresses())


def test_an_environment_of_another_lock_is_not_used(tmp_path: Path) -> None:
    """A node runs on what its lock pins: an environment that was made from another one must be made again."""
    text = "paddlepaddle==3.2.0 \\\n    --hash=sha256:00\n"
    lock(tmp_path, "paddle", text)
    python = made(tmp_path, "paddle", text)
    environments = Environments(tmp_path / "environments", tmp_path / "locks")
    assert environments.interpreter("paddle") == str(python)
    lock(tmp_path, "paddle", text.replace("3.2.0", "3.3.0"))
    with pytest.raises(EnvironmentMissing, match="make environment name=paddle"):
        environments.interpreter("paddle")


def test_this_interpreter_serves_where_it_has_what_is_locked(tmp_path: Path) -> None:
    """An environment needs no folder of its own where the running Python has all of its packages in the locked versions."""
    environments = Environments(tmp_path / "environments", Path("requirements"))
    assert environments.interpreter("light") == sys.executable
    assert environments.interpreter("core") == sys.executable
    assert environments.interpreter("") == sys.executable
    lock(tmp_path, "near", "pydantic==0.0.1 \\\n    --hash=sha256:00\n")
    with pytest.raises(EnvironmentMissing):
        Environments(tmp_path / "environments", tmp_path / "locks").interpreter("near")


def test_pins_are_read_whatever_they_are_written_like() -> None:
    """Names are normalised; extras, hashes, comments and lines for other platforms do not confuse."""
    text = (
        "# by uv\nRuamel_YAML==0.18 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via x\n"
        "redis[hiredis]==7.1.0\nnumpy==2.4.6 ; sys_platform == 'win32'\n"
    )
    assert pins(text) == {"ruamel-yaml": "0.18", "redis": "7.1.0"}


def test_replicas_and_slots_can_be_set_by_node(tmp_path: Path) -> None:
    """Every replica has an address, the scheduler hears of all of them under the name that tasks begin with."""
    table = '[subtitle]\nmodule = "services.subtitle"\nnode = "wservice"\nslots = 3\n'
    (node,), _ = place_nodes(section(tmp_path, table, replicas={"subtitle": 2}), addresses())
    assert node.part_names == ("subtitle", "subtitle-2") and node.slots == 3
    assert addresses_by_task_prefix([node]) == [
        {"node": "wservice", "addresses": ["127.0.0.1:1", "127.0.0.1:2"]}
    ]
    (node,), _ = place_nodes(section(tmp_path, table, slots={"subtitle": 1}), addresses())
    assert node.slots == 1
    assert start_commands(section(tmp_path, table)) == {"wservice": "make run nodes=subtitle"}


def test_the_table_of_this_repository_is_usable() -> None:
    """Every node of it is a package here, with a main module and a name that its tasks begin with."""
    rows = read_node_table()
    assert {"ffmpeg"} <= {row.name for row in rows}
    for row in rows:
        assert (Path(row.module.replace(".", "/")) / "__main__.py").exists(), row.module


def test_an_environment_that_a_node_can_run_on_instead_is_locked_and_named() -> None:
    """What only a script knew had no image: each lock out of a node's other requirements is an alternative of the table, and the
    names that `make lock` and `make images` go by have it; those that nodes are started on come without.
    """
    rows = read_node_table()
    named = {
        (Path(row.module.replace(".", "/")) / f"requirements-{name}.in", Path(f"requirements/{name}.txt"))
        for row in rows
        for name in row.alternatives
    }
    locked = {
        (file, Path(f"requirements/{file.stem.removeprefix('requirements-')}.txt"))
        for file in Path("services").glob("*/requirements-*.in")
        if Path(f"requirements/{file.stem.removeprefix('requirements-')}.txt").is_file()
    }
    assert named == locked and len(named) == 1
    printed = subprocess.run(
        [sys.executable, "-m", "stack.environments"], capture_output=True, text=True, check=True, timeout=30
    ).stdout.split()
    in_use = subprocess.run(
        [sys.executable, "-m", "stack.environments", "--in-use"],
        capture_output=True, text=True, check=True, timeout=30,
    ).stdout.split()  # fmt: skip
    assert set(printed) - set(in_use) == {name for row in rows for name in row.alternatives}
    assert requirement_files("paddle", rows)[-1] == "services/ocr/requirements-paddle.in"


def test_own_nodes_stand_beside_those_of_the_table(tmp_path: Path) -> None:
    """`stack.nodes` adds to the pick and runs on the stack's own interpreter unless it says otherwise."""
    own = NodeRow(name="toy", module="bench.tasks.toy")
    placed, _ = place_nodes(section(tmp_path, only=("plain",), nodes=(own,)), addresses())
    assert [(node.row.name, node.interpreter) for node in placed] == [
        ("plain", sys.executable),
        ("toy", sys.executable),
    ]


@pytest.mark.trial("10.16")
def test_nodes_that_run_elsewhere_are_told_to_the_scheduler(tmp_path: Path) -> None:
    """`stack.remote_nodes` names them by address; one with a started node's name adds replicas to it; the token can be set."""
    remote = (
        RemoteNode(node="parrot", addresses=("127.0.0.1:7001", "127.0.0.1:7002")),
        RemoteNode(node="plain", addresses=("127.0.0.1:7003",)),
    )
    stack = Stack(
        section(tmp_path, only=("plain",), remote_nodes=remote, token=SecretStr("known-to-both-of-them"))
    )
    (part,) = stack._scheduler_parts()
    (plain,) = stack.nodes
    assert json.loads(part.environment["YIVIDEO_SCHEDULER__NODES"]) == [
        {"node": "plain", "addresses": [*plain.addresses, "127.0.0.1:7003"]},
        {"node": "parrot", "addresses": ["127.0.0.1:7001", "127.0.0.1:7002"]},
    ]
    starts = json.loads(part.environment["YIVIDEO_SCHEDULER__STARTS"])
    assert starts["deaf"] == "make run nodes=deaf"
    assert not starts.keys() & {"plain", "parrot"}, "make run does not start what runs elsewhere"
    assert part.environment["YIVIDEO_RUNTIME__TOKEN"] == stack.token == "known-to-both-of-them"
    assert stack._serving_nodes() == {"plain"}, "the stack does not wait for what it does not start"
