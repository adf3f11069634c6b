"""Shows a template: what it is, and whether it could run here now. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.templates.catalogue import Template
from gateway.v1.answers.workflows import LackingTask, TemplateInfo
from yivideo.task.v1 import task_pb2


def template_info(template: Template, known: Mapping[str, task_pb2.TaskType]) -> TemplateInfo:
    """Show a template; `known` are the task types of the installation by name."""
    lacking = list(_lacking(template, known))
    unable = {one.task_name for one in lacking}
    return TemplateInfo(
        name=template.name,
        description=template.description,
        parameters=template.schema,
        tasks=list(template.task_names),
        result=dict(template.result),
        available=template.always_needed <= known.keys() - unable,
        missing=sorted(set(template.task_names) - known.keys()),
        lacking=lacking,
    )


def _lacking(template: Template, known: Mapping[str, task_pb2.TaskType]) -> Iterator[LackingTask]:
    """Yield what cannot run now: what its node is not configured for goes before that its node is away."""
    for name in template.task_names:
        kind = known.get(name)
        if kind is None:
            continue
        if kind.lacking:
            yield LackingTask(task_name=name, reason=kind.lacking)
        elif not kind.available:
            yield LackingTask(
                task_name=name,
                reason=f"no replica that offers it is there: start one of node {kind.node}; until then it waits",
            )
