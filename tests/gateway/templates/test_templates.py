"""The templates against what the nodes publish, and what becomes of a client's parameters."""

from __future__ import annotations

import itertools
from typing import Any, cast

import grpc
import pytest

from gateway.templates.catalogue import TEMPLATES, Template
from gateway.templates.expansion import checked_parameters, expand
from gateway.v1.workflow_requests import SubmitWorkflow
from gateway.v1.workflow_submission import to_workflow_spec
from nodekit import Node
from runtime.egress import EgressPolicy
from runtime.errors import InvalidArgument, NotConfigured
from scheduler.queue.admission import Admission
from scheduler.queue.keys import Keys
from scheduler.queue.task_types import TaskTypeCatalog
from scheduler.queue.task_types import _known as known_type
from scheduler.queue.workflow_plan import WorkflowAdmission
from scheduler.settings import LimitsSection
from services.asr.node import node as asr
from services.diarize.node import node as diarize
from services.ffmpeg.node import node as ffmpeg
from services.ocr.node import node as ocr
from services.separate.node import node as separate
from services.subtitle.node import node as subtitle
from services.tts.node import node as tts

NODES: tuple[Node, ...] = (ffmpeg, separate, asr, diarize, subtitle, ocr, tts)

GIVEN: dict[str, dict[str, Any]] = {
    "film_to_subtitles": {
        "film": "films/a.mp4",
        "num_speakers": 2,
        "model": "base",
        "separate_vocals": "music_is_loud",
    },
    "film_to_translated_subtitles": {
        "film": "a.mp4",
        "target_language": "zh-Hans",
        "glossary": {"bread": "面包"},
        "style": "short",
        "separate_vocals": "always",
    },
    "film_to_dubbed_film": {
        "film": "a.mp4",
        "target_language": "es",
        "voices": {"SPEAKER_00": "ef_dora"},
        "glossary": {"bread": "pan"},
    },
    "burned_subtitles_to_srt": {"film": "a.mp4", "subtitle_area": [0, 10, 20, 30], "chinese": "simplified"},
    "burned_subtitles_replaced": {"film": "a.mp4", "target_language": "de", "cover": "blur"},
    "mended_subtitles": {"subtitles": "a.srt", "language": "en", "offset_seconds": -1.5},
}


def scheduler_of(*, with_model: bool) -> WorkflowAdmission:
    """What a scheduler lets in that knows all of our nodes, with a language model or without one."""
    types = TaskTypeCatalog(cast(Any, None), Keys("{t}:"))
    for node in NODES:
        for kind in node.to_protos():
            if with_model:
                kind.ClearField("lacking")
            types._known[kind.name] = known_type(kind, node.name)
    limits = LimitsSection()
    policy = EgressPolicy()
    return WorkflowAdmission(Admission(types, policy, limits, default_timeout_seconds=60), policy, limits)


@pytest.fixture(scope="module")
def admission() -> WorkflowAdmission:
    """A scheduler of an installation with everything."""
    return scheduler_of(with_model=True)


def switches(template: Template) -> list[dict[str, Any]]:
    """Every way to set the parameters that tasks depend on; what is no yes or no is left out, or as it is given."""
    names = sorted({task.when for task in template.content.tasks if task.when})
    flags = [name for name in names if template.content.parameters[name].get("type") == "boolean"]
    given = [name for name in names if name not in flags]
    return [
        dict(zip([*flags, *given], values, strict=True))
        for values in itertools.product(
            *((False, True) for _ in flags),
            *(
                (None, False, GIVEN[template.name][name])
                if _may_be_false(template, name)
                else (None, GIVEN[template.name][name])
                for name in given
            ),
        )
    ]


def _may_be_false(template: Template, name: str) -> bool:
    return False in template.content.parameters[name].get("enum", ())


@pytest.mark.parametrize("name", sorted(TEMPLATES))
async def test_every_template_fits_the_nodes(name: str, admission: WorkflowAdmission) -> None:
    """With every choice of its parameters its tasks pass the check of inputs, references and outputs that a submit passes."""
    template = TEMPLATES[name]
    least = {field: GIVEN[name][field] for field in template.content.required}
    assert set(GIVEN) == set(TEMPLATES), "a template without a sample here"
    for given in (least, GIVEN[name]):
        for choice in switches(template):
            parameters = {name: value for name, value in (given | choice).items() if value is not None}
            made = expand(template, parameters)
            whole = SubmitWorkflow.model_validate({"tasks": made.tasks})
            admitted = await admission.admit(to_workflow_spec(whole, "w", "u", name, result=template.result))
            for reference in template.result.values():
                key = reference.split(".")[1]
                assert key in {task["key"] for task in made.tasks}, (name, choice, reference)
            assert len(admitted.tasks) == len(made.tasks)


@pytest.mark.parametrize("name", ["film_to_translated_subtitles", "film_to_dubbed_film"])
async def test_a_translation_without_a_model_is_refused_before_anything_runs(name: str) -> None:
    """It says which settings bring one; a film that is dubbed in its own language needs none."""
    made = expand(TEMPLATES[name], GIVEN[name])
    whole = SubmitWorkflow.model_validate({"tasks": made.tasks})
    bare = scheduler_of(with_model=False)
    with pytest.raises(NotConfigured, match="YIVIDEO_LLM__") as refused:
        await bare.admit(to_workflow_spec(whole, "w", "u", name))
    assert refused.value.grpc_status is grpc.StatusCode.FAILED_PRECONDITION
    if "target_language" not in TEMPLATES[name].content.required:
        made = expand(TEMPLATES[name], {"film": "a.mp4"})
        whole = SubmitWorkflow.model_validate({"tasks": made.tasks})
        assert await bare.admit(to_workflow_spec(whole, "w", "u", name))


@pytest.mark.parametrize(
    ("film", "called"),
    [
        ("uploads/1/The Kid.part 1.mp4", "The Kid.part 1"),
        ("https://host.example/films/The%20Kid.mp4?token=a/b.c", "The Kid"),
        ("/share/a\\b\x01.mkv", "a_b_"),
        ("data:video/mp4;base64,AAAA", None),
    ],
)
def test_results_are_called_like_the_film(film: str, called: str | None) -> None:
    """A name comes from what a parameter names, without folder, extension and what no file's name has."""
    (files,) = (
        one for one in expand(TEMPLATES["film_to_subtitles"], {"film": film}).tasks if one["key"] == "files"
    )
    assert files["input_data"].get("output_filename") == called


def test_a_task_that_is_not_there_gives_way_to_the_next() -> None:
    """`first` takes the first task that is there; a parameter that was not given leaves its field out."""
    by_choice = {}
    for choice in (False, True):
        given = {"film": "a.mp4", "diarize": False, "separate_vocals": "always" if choice else False}
        made = expand(TEMPLATES["film_to_subtitles"], given)
        by_choice[choice] = {task["key"]: task["input_data"] for task in made.tasks}
    assert by_choice[False]["text"]["audio_path"] == "${{ tasks.audio.output.audio_path }}"
    assert by_choice[True]["text"]["audio_path"] == "${{ tasks.voices.output.vocal_audio }}"
    assert "model" not in by_choice[True]["text"] and "diarization_file" not in by_choice[True]["files"]
    assert list(by_choice[False]) == ["audio", "text", "files", "fixed"]


def test_parameters_are_checked_and_are_never_references() -> None:
    """What is missing, unknown or wrong is named; text that looks like a reference is escaped."""
    template = TEMPLATES["film_to_subtitles"]
    for given, pointer in (
        ({}, "/parameters/film"),
        ({"film": "a", "fim": "b"}, "/parameters/fim"),
        ({"film": "a", "num_speakers": 0}, "/parameters/num_speakers"),
        ({"film": "a", "formats": ["doc"]}, "/parameters/formats/0"),
    ):
        with pytest.raises(InvalidArgument) as refused:
            expand(template, given)
        assert [field.pointer for field in refused.value.fields] == [pointer]
    made = expand(template, {"film": "${{ tasks.other.output.x }}"})
    assert made.tasks[0]["input_data"]["video_path"] == "$${{ tasks.other.output.x }}"


def test_what_is_too_large_is_not_repeated() -> None:
    """A parameter past its limit is told by its name and the limit, not whole; nor is a long name that nobody knows."""
    glossary = {f"word {n}": "x" * 600 for n in range(501)}
    for given, told in (
        ({"glossary": glossary}, "has more than 500 properties"),
        ({"x" * 100_000: 1}, "is not a parameter of this template"),
    ):
        with pytest.raises(InvalidArgument) as refused:
            checked_parameters(
                TEMPLATES["film_to_translated_subtitles"], {"film": "a", "target_language": "de"} | given
            )
        assert told in refused.value.message and refused.value.message.startswith(
            f"/parameters/{min(given)[:60]}"
        )
        assert len(refused.value.message) + sum(len(f"{one}") for one in refused.value.fields) < 10_000
