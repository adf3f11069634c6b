"""What a RoFormer's folder says, read without the package that runs it. `make test-engines` runs one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nodekit import TaskFailed
from nodekit.models import model_store
from services.separate.engines import choose
from services.separate.roformer import RoformerUnusable, _place_of_voices, read_description
from services.separate.settings import SeparateSection
from tests.engines.tiny_roformer import DESCRIPTION


def test_a_description_has_tuples_and_no_python(tmp_path: Path) -> None:
    """Published descriptions have tuples of Python's; anything else of Python is refused, since YAML could call functions."""
    path = tmp_path / "model.yaml"
    path.write_text(DESCRIPTION)
    assert read_description(path)["model"]["freqs_per_bands"][:3] == (2, 2, 4)
    for bad in ("model: !!python/object/apply:os.getpid []", "audio: {}", "model: [", ""):
        path.write_text(bad)
        with pytest.raises(RoformerUnusable):
            read_description(path)


@pytest.mark.parametrize(
    ("training", "place"),
    [
        ({"target_instrument": "vocals", "instruments": ["other", "vocals"]}, 0),
        ({"target_instrument": None, "instruments": ["drums", "Vocals"]}, 1),
        ({"target_instrument": "Instrumental"}, None),
        ({}, 0),
    ],
)
def test_the_voices_are_found_among_the_stems(training: dict[str, Any], place: int | None) -> None:
    """By name, in any case; a network that gives the music alone has the voices in what it leaves."""
    assert _place_of_voices(training) == place


def test_a_wrong_folder_is_told_by_what_it_has(tmp_path: Path) -> None:
    """A checkpoint counts with its description; a name that is not there is told with those that are."""
    (tmp_path / "one.ckpt").touch()
    settings = SeparateSection(roformer_folder=tmp_path)
    with pytest.raises(TaskFailed, match="it has none") as failed:
        choose("auto", settings, model_store(), 1)
    (tmp_path / "one.yaml").touch()
    with pytest.raises(TaskFailed, match="it has one") as named:
        choose("roformer", settings, model_store(), 1, model="two")
    assert (failed.value.field, named.value.field) == ("", "/model_name")
