"""Cues find the speech that they belong to, whatever was done to their times, and stay where no speech is theirs."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

from subtitles.cue import Cue
from subtitles.retiming import Retiming, retime
from subtitles.sync import RATES, Activity, Sync, TooMuch, apply_sync, find_sync

FRAME = 0.032


def film(seed: int, count: int = 30) -> tuple[list[Cue], Activity]:
    """A talk with pauses of all lengths, as a detector hears it: soft edges, doubts, a cough in between."""
    dice = random.Random(seed)
    cues, clock = [], dice.uniform(0.5, 3)
    for number in range(count):
        end = clock + dice.uniform(0.8, 4.5)
        cues.append(Cue(clock, end, f"line {number}"))
        clock = end + dice.choice([0.15, 0.3, 0.5, 1.0, 2.5, 6.0])
    middles = (np.arange(int((clock + 2) / FRAME)) + 0.5) * FRAME
    heard = np.full(len(middles), 0.05)
    for cue in cues:
        heard[(middles >= cue.start) & (middles < cue.end)] = 0.95
    noise = np.random.default_rng(seed)
    heard = np.clip(heard + noise.normal(0, 0.1, len(heard)), 0, 1)
    heard[noise.integers(0, len(heard), 20)] = 0.9
    return cues, Activity(heard.tolist(), FRAME)


def worst(cues: list[Cue], truth: list[Cue]) -> float:
    """The largest distance of a start from where it belongs."""
    return max(abs(cue.start - true.start) for cue, true in zip(cues, truth, strict=True))


@pytest.mark.parametrize("offset", [-19.5, -3.3, 0.4, 12.0])
@pytest.mark.parametrize("rate", [RATES[0], RATES[1], RATES[4]])
def test_offset_and_rate_are_found(offset: float, rate: float) -> None:
    """The damage of another frame rate and a late start is undone to the hearing's own precision, in one piece."""
    truth, activity = film(1)
    damaged = retime(truth, Retiming(1 / rate, offset))
    sync = find_sync(damaged, activity)
    assert sync.moved and len(sync.pieces) == 1
    assert worst(apply_sync(damaged, sync), truth) < 0.12


@pytest.mark.parametrize(("place", "seconds"), [(3, 2.0), (12, 7.5), (20, 0.7), (27, 3.0)])
def test_a_cut_is_found_where_it_is(place: int, seconds: float) -> None:
    """Cues behind a cut are moved by themselves, from the first one on."""
    truth, activity = film(2)
    damaged = truth[:place] + retime(truth[place:], Retiming(1, seconds))
    sync = find_sync(damaged, activity)
    assert [piece.first for piece in sync.pieces] == [0, place]
    assert worst(apply_sync(damaged, sync), truth) < 0.12


def test_without_cuts_all_move_alike() -> None:
    """`cuts=False` gives one piece, whatever is in the file."""
    truth, activity = film(2)
    damaged = truth[:9] + retime(truth[9:], Retiming(1, 3))
    assert len(find_sync(damaged, activity, cuts=False).pieces) == 1


def test_what_is_in_time_stays() -> None:
    """A file that is right is not touched, not even by a hundredth."""
    truth, activity = film(3)
    sync = find_sync(truth, activity)
    assert not sync.moved and apply_sync(truth, sync) == truth


@pytest.mark.parametrize("seed", range(10, 16))
def test_cues_of_another_film_stay(seed: int) -> None:
    """Speech that is not theirs does not draw cues to it."""
    cues, _ = film(seed)
    _, activity = film(seed + 100)
    assert not find_sync(cues, activity).moved


@pytest.mark.parametrize(
    "heard", [[], [0.0] * 2000, [1.0] * 2000], ids=["nothing", "silence", "talk without a pause"]
)
def test_a_recording_without_speech_or_pause_moves_nothing(heard: list[float]) -> None:
    """Where nothing can be told nothing is done; neither with three cues or none."""
    truth, activity = film(4)
    assert not find_sync(truth, Activity(heard, FRAME)).moved
    assert not find_sync(truth[:3], activity).moved and not find_sync([], activity).moved


def test_pieces_cover_all_cues_in_order() -> None:
    """Whatever is found, each cue is in exactly one piece, and none is moved back over the one before it."""
    dice = random.Random(5)
    truth, activity = film(5)
    for _ in range(5):
        damaged, shift = [], 0.0
        for cue in truth:
            shift += dice.choice([0.0] * 6 + [1.5, 4.0])
            damaged += retime([cue], Retiming(1, shift))
        sync: Sync = find_sync(damaged, activity)
        edges = [(piece.first, piece.last) for piece in sync.pieces]
        assert edges[0][0] == 0 and edges[-1][1] == len(truth)
        assert all(one[1] == other[0] for one, other in pairwise(edges))
        moved = apply_sync(damaged, sync)
        assert all(after.start > before.start for before, after in pairwise(moved))


def test_what_would_take_hours_is_refused() -> None:
    """More cues and a farther reach than any film has are refused before anything is reckoned."""
    cues = [Cue(place * 1.8, place * 1.8 + 1.5, "x") for place in range(200_000)]
    with pytest.raises(TooMuch, match="200000 cues"):
        find_sync(cues, Activity([0.0] * 100, 0.032))
