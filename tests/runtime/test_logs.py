"""Logs, as a real process writes them to standard error."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, cast

import pytest

from runtime.seldom import Seldom

ROOT = Path(__file__).resolve().parents[2]

PREAMBLE = """
import logging, warnings
from runtime import context
from runtime.logs import configure_logs, get_logger
log = get_logger("room")
"""


def lines_of(body: str, **options: str) -> list[dict[str, Any]]:
    """Run code in a fresh process; its standard error, each line parsed as JSON."""
    arguments = ", ".join(f"{key}={value!r}" for key, value in options.items())
    code = PREAMBLE + f"configure_logs('shop', {arguments})\n" + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_each_line_is_one_json_object_with_its_ids() -> None:
    """Time, level, logger, process and the bound ids are in every line, from our loggers and from others'."""
    ours, foreign, outside = lines_of("""
        trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
        with context.bound(request="req-1", trace=trace, task="task-1"):
            log.info("shelf\\nfull", count=3)
            logging.getLogger("library").warning("from %s", "outside")
        log.info("later")
    """)
    assert ours["event"] == "shelf\nfull"
    assert (ours["level"], ours["logger"], ours["process"], ours["count"]) == ("info", "room", "shop", 3)
    assert ours["timestamp"].endswith("Z")
    assert (foreign["event"], foreign["logger"]) == ("from outside", "library")
    for line in (ours, foreign):
        assert (line["request_id"], line["trace_id"], line["task_id"]) == ("req-1", "a" * 32, "task-1")
    assert not {"request_id", "trace_id", "task_id"} & outside.keys()


def test_an_exception_is_part_of_its_line() -> None:
    """A traceback never spreads over lines, whoever logs it; a warning of Python's is a line too."""
    ours, foreign, warned = lines_of("""
        try:
            1 / 0
        except ZeroDivisionError:
            log.exception("broke")
            logging.getLogger("asyncio").exception("broke too")
        warnings.warn("old", UserWarning)
    """)
    assert "ZeroDivisionError: division by zero" in ours["exception"]
    assert "ZeroDivisionError: division by zero" in foreign["exception"]
    assert "old" in warned["event"]


def test_secrets_are_masked_by_their_name() -> None:
    """A value under a telling key is not written, also inside nested objects."""
    (line,) = lines_of("""
        log.info("call", token="hunter2", Authorization="hunter2", db_password="hunter2", user="ada",
                 headers={"X-Api-Key": "hunter2", "Cookie": "hunter2", "Accept": "*/*"},
                 inputs={"engine": {"api_key": "hunter2", "model": "base"}})
    """)
    assert "hunter2" not in json.dumps(line)
    assert line["user"] == "ada"
    assert line["headers"]["Accept"] == "*/*"
    assert line["inputs"]["engine"]["model"] == "base"


def test_no_value_costs_a_line() -> None:
    """What JSON cannot say is written some other way; the line is not lost and not replaced by a traceback."""
    values = ["2**80", r"'x\udc80'", "{1: 2}", "{(1, 2): 3}", "object()", "b'raw'", "float('nan')", "{3}"]
    written = lines_of("\n".join(f"log.info('odd', value={value}, count=1)" for value in values))
    assert [(line["event"], line["count"]) for line in written] == [("odd", 1)] * len(values)


def test_the_level_holds_for_everybody() -> None:
    """Below the configured level nothing is written, by us or by others."""
    written = lines_of(
        """
        log.info("no"); logging.getLogger("library").info("no"); log.warning("yes")
        """,
        level="warning",
    )
    assert [line["event"] for line in written] == ["yes"]


@pytest.mark.trial("10.6")
def test_what_goes_on_is_said_seldom() -> None:
    """The first time at once, then once a period with how often it was not said; another thing has a period of its own."""
    said: list[tuple[str, dict[str, object]]] = []

    class Log:
        def warning(self, event: str, **fields: object) -> None:
            said.append((event, fields))

    now = 100.0
    seldom = Seldom(cast(Any, Log()), 10.0, lambda: now)
    for _ in range(80):
        seldom.warning("redis is away", error="Refused")
        now += 0.125
    seldom.warning("another thing")
    seldom.warning("redis is away", error="Refused")
    assert said == [
        ("redis is away", {"error": "Refused"}),
        ("another thing", {}),
        ("redis is away", {"error": "Refused", "not_said": 79}),
    ]


@pytest.mark.trial("10.6")
def test_a_file_gets_no_colours() -> None:
    """The console format has them only where somebody looks at a terminal."""
    code = (
        f"{PREAMBLE}configure_logs('shop', log_format='console')\nlog.warning('something happened', shelf=3)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert "something happened" in done.stderr and "\x1b" not in done.stderr
