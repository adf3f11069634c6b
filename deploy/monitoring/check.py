"""`make check-monitoring`: everything that rules and dashboards promise, held against the processes and judged by promtool.

`findings()` is for other checks to call; `RESULT` has how many there are of each kind.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from deploy.monitoring.__main__ import ALERTS, HERE, written
from deploy.monitoring.names import exposed, rules, unknown, wrong_labels

ROOT = HERE.parents[1]
CASES = HERE / "cases.yaml"
RUNBOOKS = ROOT / "docs" / "runbooks"
_SECONDS = 120.0

Case = Mapping[str, Any]


def cases() -> dict[str, Case]:
    """Return the case of each alert."""
    found: dict[str, Case] = yaml.safe_load(CASES.read_text(encoding="utf-8"))
    return found


def promtool_tests(alerts: Path) -> dict[str, Any]:
    """Return what `promtool test rules` reads: each alert fires where it should and nowhere else."""
    by_name = {str(rule["alert"]): rule for rule in rules()}
    tests = []
    for name, case in cases().items():
        rule: Any = by_name[name]
        fired = {
            "exp_labels": {**rule["labels"], **case["labels"]},
            "exp_annotations": rule["annotations"],
        }
        for which, expected in (("fires", [fired]), ("silent", [])):
            tests.append(
                {
                    "name": f"{name} {which}",
                    "interval": "1m",
                    "input_series": [series(line) for line in case[which]],
                    "alert_rule_test": [
                        {"eval_time": case["after"], "alertname": name, "exp_alerts": expected}
                    ],
                }
            )
    return {"rule_files": [str(alerts)], "evaluation_interval": "1m", "tests": tests}


def series(line: str) -> dict[str, str]:
    """Split `name{labels} values`."""
    end = line.index("}") + 1 if "{" in line else line.index(" ")
    return {"series": line[:end], "values": line[end:].strip()}


def promtool() -> str | None:
    """Have promtool check the rules and run the cases; returns what it found wrong. None: it is not here."""
    binary = shutil.which("promtool")
    if binary is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        test = Path(folder) / "alerts.test.yaml"
        test.write_text(yaml.safe_dump(promtool_tests(ALERTS), sort_keys=False), encoding="utf-8")
        said = ""
        for words in (["check", "rules", str(ALERTS)], ["test", "rules", str(test)]):
            done = subprocess.run(
                [binary, *words], check=False, capture_output=True, text=True, timeout=_SECONDS
            )
            if done.returncode:
                said += done.stdout + done.stderr
        return said


def findings() -> dict[str, list[str]]:
    """Return what is wrong without starting anything, by kind."""
    names = {str(rule["alert"]) for rule in rules()}
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    stale = [
        str(path.relative_to(ROOT))
        for path, text in written().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    return {
        "without_case": sorted(names ^ cases().keys()),
        "without_runbook": sorted(names ^ pages),
        "not_written_again": stale,
        "wrong_labels": wrong_labels(),
    }


def series_of_a_stack(folder: Path) -> set[str]:
    """Start the embedded stack and return the series that its processes offer."""
    environment = {
        **os.environ,
        "YIVIDEO_STACK__FOLDER": str(folder / "run"),
        "YIVIDEO_STACK__GATEWAY_LISTEN": "127.0.0.1:0",
        "YIVIDEO_STACK__METRICS_PORT": "0",
        # One of each that has figures of its own.
        "YIVIDEO_STACK__ONLY": '["ffmpeg", "asr", "llm"]',
    }
    with (folder / "stack.log").open("wb") as log:
        stack = subprocess.Popen(
            [sys.executable, "-m", "stack"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
        try:
            card, give_up = folder / "run" / "stack.json", time.monotonic() + _SECONDS
            while not card.is_file():
                if stack.poll() is not None or time.monotonic() > give_up:
                    raise SystemExit((folder / "stack.log").read_text())
                time.sleep(0.1)
            targets = json.loads((folder / "run" / "metrics-targets.json").read_bytes())
            places = [f"http://{target}/metrics" for one in targets for target in one["targets"]]
            return {name for place in places for name in exposed(_read(place))}
        finally:
            stack.terminate()
            stack.wait(_SECONDS)


def _read(place: str) -> str:
    with urllib.request.urlopen(place, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def main() -> int:
    """Check everything, print what is wrong and the result line; returns 1 when something is."""
    found = findings()
    judged = promtool()
    with tempfile.TemporaryDirectory(prefix="yivideo-monitoring-") as folder:
        found["names_not_in_processes"] = unknown(series_of_a_stack(Path(folder)))
    for kind, items in found.items():
        for item in items:
            print(f"{kind}: {item}")
    if judged:
        print(judged)
    words = {None: "not here", "": "passed"}
    result = {"alerts": len(rules()), "promtool": words.get(judged, "failed")}
    print("RESULT", json.dumps(result | {kind: len(items) for kind, items in found.items()}))
    return 1 if judged or any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
