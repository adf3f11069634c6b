"""What the list of templates says of those that could not run here now."""

from __future__ import annotations

from gateway.templates.catalogue import TEMPLATES
from gateway.v1.template_presenter import template_info
from yivideo.task.v1 import task_pb2

TEMPLATE = TEMPLATES["film_to_translated_subtitles"]


def known(**lacking: str) -> dict[str, task_pb2.TaskType]:
    """All types of the template, each with a replica that offers it; `lacking` by the method's name."""
    return {
        name: task_pb2.TaskType(
            name=name,
            node=name.partition(".")[0],
            available=True,
            lacking=lacking.get(name.partition(".")[2], ""),
        )
        for name in TEMPLATE.task_names
    }


def test_a_template_whose_tasks_can_all_run_is_available() -> None:
    """Nothing is lacking and nothing missing."""
    shown = template_info(TEMPLATE, known())
    assert (shown.available, shown.missing, shown.lacking) == (True, [], [])


def test_a_type_that_is_not_configured_says_what_is_lacking() -> None:
    """The node's own words stand there, under the type's name; the type is not missing."""
    (translates,) = [name for name in TEMPLATE.task_names if "translate" in name]
    shown = template_info(TEMPLATE, known(**{translates.partition(".")[2]: "a language model: set X"}))
    assert not shown.available and shown.missing == []
    assert [(one.task_name, one.reason) for one in shown.lacking] == [(translates, "a language model: set X")]


def test_a_type_whose_node_is_away_says_so() -> None:
    """Each type of the node is named with the node; one that is only needed at a parameter's wish leaves it available."""
    optional = sorted(set(TEMPLATE.task_names) - TEMPLATE.always_needed)
    for name in TEMPLATE.task_names:
        types = known()
        types[name].available = False
        shown = template_info(TEMPLATE, types)
        (lack,) = shown.lacking
        assert lack.task_name == name and f"node {name.partition('.')[0]}" in lack.reason
        assert shown.available == (name in optional)


def test_a_type_that_nobody_published_is_missing_and_not_lacking() -> None:
    """`missing` keeps its meaning."""
    types = known()
    gone = min(TEMPLATE.always_needed)
    del types[gone]
    shown = template_info(TEMPLATE, types)
    assert (shown.available, shown.missing, shown.lacking) == (False, [gone], [])
