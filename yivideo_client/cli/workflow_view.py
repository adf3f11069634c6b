"""A workflow as the command line writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yivideo_client.cli.output import Format, print_facts, print_json

if TYPE_CHECKING:
    from yivideo_client.workflow_models import Workflow


def facts(workflow: Workflow) -> dict[str, object]:
    """Return what a person wants to know of a workflow."""
    shown: dict[str, object] = {
        "id": workflow.workflow_id,
        "template": workflow.template,
        "state": workflow.state,
        "error": workflow.error,
    }
    shown = {name: value for name, value in shown.items() if value}
    for index, task in enumerate(workflow.tasks):
        said = f"{task.key or task.task_id}  {task.task_name}  {task.state}"
        if task.percent is not None and task.state == "running":
            said += f"  {task.percent:.0f} %"
        shown["tasks" if index == 0 else f"  {index + 1}"] = said
    return shown


def show(workflow: Workflow, form: Format) -> None:
    """Write one workflow."""
    if form is Format.JSON:
        print_json(workflow.raw)
    else:
        print_facts(facts(workflow))
