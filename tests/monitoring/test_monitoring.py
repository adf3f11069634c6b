"""Rules and dashboards speak of what is there, each alert is tried and explained, and what is generated is up to date."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from typer import Context
from typer.core import TyperGroup
from typer.main import get_command

from deploy.monitoring import check
from deploy.monitoring.__main__ import HERE
from deploy.monitoring.boards import DASHBOARDS
from deploy.monitoring.names import (
    Spoken,
    exposed,
    known_labels,
    rules,
    series_named,
    spoken,
    unknown,
    wrong_labels,
)
from runtime.settings_outline import settings_of
from tests import settings_page
from tests.gateway.routes import ROUTES
from yivideo_client.cli.main import app


@pytest.mark.parametrize("kind", ["without_case", "without_runbook", "not_written_again", "wrong_labels"])
def test_nothing_is_wrong(kind: str) -> None:
    """Every alert has a case and a runbook, no case or page is of none; generated files are as their sources; labels exist."""
    assert check.findings()[kind] == []


def test_every_name_is_one_that_the_code_makes() -> None:
    """Series that no module makes, in panels or rules, are none."""
    assert unknown(known_labels()) == []


def test_promtool_agrees() -> None:
    """Each alert fires where it should, with its labels, and is silent where it should be."""
    said = check.promtool()
    if said is None:
        pytest.skip("needs promtool: make check-monitoring brings it")
    assert said == ""


@pytest.mark.slow
def test_every_series_is_offered_by_a_process(tmp_path: Path) -> None:
    """The processes themselves are asked: a running stack's /metrics have every series that is spoken of."""
    assert unknown(check.series_of_a_stack(tmp_path)) == []


def test_the_checks_can_fail() -> None:
    """A name that is not there, a label that its series has not, and one that nothing is summed by are found."""
    assert unknown({"up"})
    assert Spoken("x", 'sum by (b) (a) / yivideo_x{c=~"d=e|f",g="h"}').groupings() == {"b"}
    assert list(Spoken("x", 'rate(yivideo_x{c=~"d=e|f",g!="h"}[5m])').metrics()) == [
        ("yivideo_x", frozenset({"c", "g"}))
    ]
    assert exposed("# TYPE a_seconds histogram\n# TYPE b_total counter\n") == {
        "a_seconds", "a_seconds_bucket", "a_seconds_sum", "a_seconds_count", "b_total",
    }  # fmt: skip
    for expr in (
        'sum by (b) (rate(yivdeo_x{c="up"}[5m])) > 3',
        "max(yivdeo_x offset 1d) / on (pool) group_left (a) up < 1e9",
    ):
        assert series_named(expr) - {"up"} == {"yivdeo_x"}
    assert not wrong_labels() and len(list(spoken())) > 100


def test_dashboards_are_what_grafana_imports() -> None:
    """Six pages with ids of their own; panels inside the grid, not over each other, each with a query and a unit."""
    assert len({board.uid for board in DASHBOARDS}) == len(DASHBOARDS) == 6
    for board in DASHBOARDS:
        made = json.loads((HERE / "dashboards" / f"{board.uid}.json").read_bytes())
        taken: set[tuple[int, int]] = set()
        assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])
        for panel in made["panels"]:
            at = panel["gridPos"]
            cells = {
                (x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
            }
            assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
            taken |= cells
            assert panel["type"] == "row" or (panel["targets"] and panel["fieldConfig"]["defaults"]["unit"])


def test_every_alert_says_how_grave_it_is_and_where_to_look() -> None:
    """A severity, and a runbook that tells what it means, what to look at and what to do, in names that exist."""
    series = known_labels()
    for rule in rules():
        name = str(rule["alert"])
        assert rule["labels"]["severity"] in ("warning", "critical")  # type: ignore[index]
        assert set(rule["annotations"]) == {"summary", "runbook"}, name  # type: ignore[call-overload]
        assert rule["annotations"]["runbook"] == f"docs/runbooks/{name}.md"  # type: ignore[index]
        page = (check.RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {name}\n")
        for heading in ("## What it means", "## Look at", "## Do"):
            assert heading in page, (name, heading)
        assert name in (check.RUNBOOKS / "README.md").read_text(encoding="utf-8")
        for used, _ in Spoken(name, page).metrics():
            assert used in series or used == "up", (name, used)


def test_runbooks_name_settings_and_commands_that_exist() -> None:
    """`scheduler.limits.max_queued` is a setting; `yivideo gpu release` is a command; `GET /v1/queues` is a route."""
    known = {
        setting.name
        for _, kinds in settings_page.PROCESSES
        for kind in kinds
        for setting in settings_of(kind)
    }
    sections = {name.partition(".")[0] for name in known}
    routes = {(route.method, re.sub(r"\{[^}]*\}", "{}", route.path)) for route in ROUTES}
    commands = {" ".join(name) for name in _commands()}
    for page in check.RUNBOOKS.glob("*.md"):
        text = re.sub(r"\s+", " ", page.read_text(encoding="utf-8"))
        for quoted in re.findall(r"`([^`]+)`", text):
            first, dot, _ = quoted.partition(".")
            if dot and first in sections and re.fullmatch(r"[a-z_.]+", quoted):
                assert quoted in known or any(name.startswith(f"{quoted}.") for name in known), (
                    page.name,
                    quoted,
                )
            if route := re.match(r"(GET|POST|DELETE|PUT|PATCH) (/\S*)", quoted):
                method, path = route.groups()
                assert (method, re.sub(r"\{[^}]*\}", "{}", path)) in routes, (page.name, quoted)
            if quoted.startswith("yivideo "):
                words = [word for word in quoted.split()[1:3] if word.isalpha() and word.islower()]
                assert " ".join(words) in commands or words[0] in commands, (page.name, quoted)


def _commands() -> list[tuple[str, ...]]:
    """Every command of the command line, as its words."""
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    context = Context(root)
    found: list[tuple[str, ...]] = []
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        inner = command.list_commands(context) if isinstance(command, TyperGroup) else []
        found += [(name, one) for one in inner] or [(name,)]
    return found


def test_the_operators_form_holds_the_same_rules() -> None:
    """PrometheusRule is alerts.yaml, wrapped."""
    made = yaml.safe_load((HERE / "prometheus-rule.yaml").read_text(encoding="utf-8"))
    assert made["kind"] == "PrometheusRule"
    assert [rule for group in made["spec"]["groups"] for rule in group["rules"]] == rules()
