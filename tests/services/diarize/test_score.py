"""Error rates against the field's own scorers, and against answers whose score is plain."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.diarize.assignment import best_pairs
from services.diarize.rttm import NotRttm, from_rttm, to_rttm
from services.diarize.score import score
from services.diarize.turns import Turn

HEARD = [Turn(0, 10, "a"), Turn(10, 15, "b")]


@pytest.mark.parametrize(
    ("collar", "skip_overlap", "expected"),
    [(0.0, False, 0.194682), (0.25, False, 0.103932), (0.25, True, 0.071692)],
)
def test_golden_pair(shared_media: Path, collar: float, skip_overlap: bool, expected: float) -> None:
    """On a whole AMI meeting the rates are those of pyannote.metrics 4 (collar 0.25 s here is its 0.5)."""
    folder = shared_media / "diar"
    (reference,) = from_rttm((folder / "scoring_ref_rttm_ES2014c.rttm").read_text()).values()
    (answer,) = from_rttm((folder / "scoring_sys_rttm_ES2014c.rttm").read_text()).values()
    found = score(reference, answer, collar_seconds=collar, skip_overlap=skip_overlap)
    assert found.der == pytest.approx(expected, abs=1e-5)
    if not skip_overlap:
        assert found.jer == pytest.approx(0.232915, abs=1e-5)
    assert found.speaker_count_error == 3


@pytest.mark.parametrize(
    ("answer", "missed", "invented", "confused"),
    [
        ([Turn(0, 10, "x"), Turn(10, 15, "y")], 0, 0, 0),
        ([Turn(0, 10, "x")], 5, 0, 0),
        ([Turn(0, 15, "x")], 0, 0, 5),
        ([Turn(0, 10, "x"), Turn(10, 15, "y"), Turn(2, 4, "z")], 0, 2, 0),
        ([], 15, 0, 0),
    ],
)
def test_kinds_of_error(answer: list[Turn], missed: float, invented: float, confused: float) -> None:
    """Names do not matter; what is missing, too much, or somebody else's is counted as such."""
    found = score(HEARD, answer)
    assert (found.missed, found.invented, found.confused, found.total) == (missed, invented, confused, 15)


def test_collar_forgives_edges_and_spans_bound() -> None:
    """Errors within the collar of an edge do not count, nor does what lies outside of the scored spans."""
    late = [Turn(0.2, 10, "a"), Turn(10, 15, "b")]
    assert score(HEARD, late).missed == pytest.approx(0.2)
    assert score(HEARD, late, collar_seconds=0.25).der == 0
    assert score(HEARD, [*HEARD, Turn(20, 30, "c")], spans=[(0, 15)]).der == 0


def test_nothing_against_nothing() -> None:
    """Two empty answers agree; speech that nobody spoke is all wrong."""
    assert score([], []).der == 0
    assert score([], HEARD).der == 1
    assert score([], HEARD).jer == 1


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10_000))
def test_matching_is_the_best(ones: int, others: int, seed: int) -> None:
    """No other one-to-one matching gains more, as trying them all shows."""
    chance = random.Random(seed)
    gain = {
        (f"a{i}", f"b{j}"): chance.choice([0, chance.random(), chance.randint(1, 3)])
        for i in range(ones)
        for j in range(others)
    }
    found = best_pairs(gain)
    assert len(set(found.values())) == len(found)
    names = [f"b{j}" for j in range(others)] + [""] * ones
    best = max(
        sum(gain.get((f"a{i}", other), 0) for i, other in enumerate(order))
        for order in itertools.permutations(names, ones)
    )
    assert sum(gain[pair] for pair in found.items()) == pytest.approx(best)


def test_rttm_there_and_back() -> None:
    """Turns survive being written, names with blanks as well; a broken line is named by its number."""
    assert from_rttm(to_rttm(HEARD, "my film"))["my_film"] == HEARD
    with pytest.raises(NotRttm, match="line 2"):
        from_rttm("\nSPEAKER film 1 nonsense\n")
