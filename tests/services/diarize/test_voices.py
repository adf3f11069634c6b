"""Clustering of voices: the tree, the number of speakers, what is dissolved."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.diarize.speakers import SpeakerCount, Unlikeness, find_speakers
from services.diarize.voice_tree import grow

UNLIKE = Unlikeness(0.38, 0.4)


def voices(*sizes: int, noise: float = 0.8, seed: int = 0) -> NDArray[np.float32]:
    """Unit vectors around as many directions as there are sizes; noise is their length off the direction."""
    chance = np.random.default_rng(seed)
    made = []
    for size in sizes:
        direction = chance.standard_normal(192)
        off = chance.standard_normal((size, 192))
        off *= noise / np.linalg.norm(off, axis=1, keepdims=True)
        made.append(direction / np.linalg.norm(direction) + off)
    joined = np.concatenate(made).astype(np.float32)
    return np.asarray(joined / np.linalg.norm(joined, axis=1, keepdims=True), np.float32)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 1000))
def test_tree_is_average_linkage(size: int, seed: int) -> None:
    """The heights are those of merging the closest two clusters by mean pairwise distance, done the slow way."""
    vectors = voices(*[1] * size, seed=seed)
    clusters = [[number] for number in range(size)]
    heights = []
    distances = 1 - vectors.astype(float) @ vectors.T.astype(float)
    while len(clusters) > 1:
        pairs = [(i, j) for i in range(len(clusters)) for j in range(i)]
        nearest = min(pairs, key=lambda pair: distances[np.ix_(clusters[pair[0]], clusters[pair[1]])].mean())
        heights.append(distances[np.ix_(clusters[nearest[0]], clusters[nearest[1]])].mean())
        clusters[nearest[1]] += clusters.pop(nearest[0])
    tree = grow(vectors)
    assert tree.heights == pytest.approx(heights, abs=1e-5)
    assert tree.counts[tree.root] == size


@pytest.mark.parametrize("sizes", [(40,), (30, 20), (50, 9, 30), (20, 20, 20, 20)])
def test_number_is_found(sizes: tuple[int, ...]) -> None:
    """As many speakers are found as there are voices, one voice alone too."""
    assert len(find_speakers(voices(*sizes), UNLIKE, SpeakerCount())) == len(sizes)


def test_phantoms_are_dissolved() -> None:
    """Three windows of a strange voice in a long recording are no speaker; in a short one they may be."""
    heard = voices(100, 60, 3)
    assert len(find_speakers(heard, UNLIKE, SpeakerCount(smallest_share=0.03))) == 2
    assert len(find_speakers(heard, UNLIKE, SpeakerCount(smallest_share=0.0))) == 3


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (SpeakerCount(exactly=1), 1),
        (SpeakerCount(exactly=2), 2),
        (SpeakerCount(exactly=5), 5),
        (SpeakerCount(at_least=4), 4),
        (SpeakerCount(at_most=2), 2),
        (SpeakerCount(at_least=2, at_most=6), 3),
        (SpeakerCount(exactly=50), 50),
    ],
)
def test_number_is_obeyed(wanted: SpeakerCount, expected: int) -> None:
    """A given number is the number, and bounds bound, whatever the voices say."""
    assert len(find_speakers(voices(30, 20, 25), UNLIKE, wanted)) == expected


def test_more_speakers_than_windows() -> None:
    """Nobody can be told apart of whom nothing was heard: there are at most as many speakers as windows, none for none."""
    assert len(find_speakers(voices(1, 1), UNLIKE, SpeakerCount(exactly=5))) == 2
    assert len(find_speakers(voices(1)[:0], UNLIKE, SpeakerCount(exactly=5))) == 0
