"""Rules without a model mend what they are for, and touch nothing else."""

from __future__ import annotations

import pytest

from subtitles.revision.line import Line
from subtitles.revision.rules import revise_by_rule


def revised(text: str, terms: tuple[str, ...] = (), *, fillers: bool = True) -> str:
    """What rules make of a line."""
    return revise_by_rule([Line(1, text)], terms=terms, fillers=fillers).get(1, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Um, I forgot the the bread.", "I forgot the bread."),
        ("I, uh, forgot it, um.", "I, forgot it."),
        ("well I I think er so,", "well I think so,"),
    ],
)
def test_fillers_and_stutter_go(text: str, expected: str) -> None:
    """Sounds of thinking and small words said twice are taken out, with the commas that set them off."""
    assert revised(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "But as the riper should by time decease,",
        "и моје вољене жене Хедер,",
        ", he said, that that had had been,",
        "Um.",
        "呃，我们走吧，",
        "An umbrella, a hammer, uh-huh,",
    ],
)
def test_sound_lines_stay(text: str) -> None:
    """A line without a filler keeps every mark; one that is nothing else stays; words that only begin like one are none."""
    assert revised(text) == text


def test_terms_are_written_as_they_are_to_be() -> None:
    """What is nearly a term becomes it; other words do not."""
    assert revised("the Winkee men of Kubernets", ("Winkie", "Kubernetes")) == "the Winkie men of Kubernetes"
    assert revised("the window of government", ("Winkie", "Kubernetes")) == "the window of government"


def test_without_leave_fillers_stay() -> None:
    """A correction does not take out what was said."""
    assert revised("Um, I forgot it.", fillers=False) == "Um, I forgot it."
