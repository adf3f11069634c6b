"""How many speakers there are and how each sounds, from the tree of the voices that were heard.

The tree is opened from its root, at each step where its two sides are least alike, until no two sides differ as two people do.
How unlike they are is told by their mean voices: unlike the mean distance between single windows, which noise and shortness make
large for one and the same person, the means of many windows are near to each other exactly if the person is the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from services.diarize.voice_tree import Vectors, VoiceTree, grow


@dataclass(frozen=True)
class SpeakerCount:
    """What is known about the number of speakers."""

    exactly: int | None = None
    at_least: int = 1
    at_most: int | None = None
    smallest_share: float = 0.03
    """A cluster with a smaller share of the windows is a phantom (a cough, a laugh, one voice in an odd mood): it is dissolved, and
    its speech goes to the likest speaker."""

    def decides(self, found: int) -> bool | None:
        """Say whether to look for one more than `found` speakers; None: the voices decide."""
        if self.exactly is not None:
            return found < self.exactly
        if found < self.at_least:
            return True
        return False if self.at_most is not None and found >= self.at_most else None


@dataclass(frozen=True)
class Unlikeness:
    """From which distance on two clusters are two people; depends on what makes the vectors."""

    distance: float
    """Cosine distance of two mean voices of very many windows."""
    for_few: float
    """Added over the square root of the windows of the smaller one: the mean of few windows is not exact."""
    fewest: int = 3
    """Windows below which a cluster is no speaker, whatever its share."""


def find_speakers(vectors: Vectors, unlike: Unlikeness, wanted: SpeakerCount) -> Vectors:
    """Return one unit vector for each speaker, shape (speakers, dimensions); none when there are no vectors.

    `vectors` are unit vectors of windows of speech, shape (n, dimensions).
    """
    if not len(vectors):
        return vectors
    tree = grow(vectors)
    smallest = max(unlike.fewest, math.ceil(wanted.smallest_share * len(vectors)))
    nodes = [tree.root]
    while wanted.decides(len(nodes)) is not False:
        splits = [(_margin(tree, _core(tree, node, smallest), unlike, smallest), node) for node in nodes]
        margin, node = max(splits)
        if margin == -math.inf:
            if not wanted.decides(len(nodes)) or smallest == 1:
                break
            smallest = 1  # so many were asked for: then the smallest clusters must do
            continue
        if margin <= unlike.distance and wanted.decides(len(nodes)) is None:
            break
        nodes.remove(node)
        nodes += tree.below(_core(tree, node, smallest)) or ()
    means = tree.sums[nodes]
    return np.asarray(means / np.maximum(np.linalg.norm(means, axis=-1, keepdims=True), 1e-9), np.float32)


def _core(tree: VoiceTree, node: int, smallest: int) -> int:
    """Return the node that is left when phantoms are taken off: both its sides, if it has any, are large enough."""
    while (sides := tree.below(node)) and min(tree.counts[list(sides)]) < smallest:
        node = max(sides, key=lambda side: int(tree.counts[side]))
    return node


def _margin(tree: VoiceTree, node: int, unlike: Unlikeness, smallest: int) -> float:
    """Return how unlike a node's two sides are; minus infinity when it cannot be opened."""
    sides = tree.below(node)
    if sides is None:
        return -math.inf
    one, other = tree.sums[sides[0]], tree.sums[sides[1]]
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    likeness = float(one @ other) / max(lengths, 1e-9)
    few = min(int(tree.counts[side]) for side in sides)
    return 1.0 - likeness - unlike.for_few / math.sqrt(few)
