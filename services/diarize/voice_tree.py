"""Average-linkage clustering of voices: exact, on one core, in memory that grows with their number and not with its square.

With unit vectors and cosine distance, the mean distance between two clusters is 1 minus the dot product of their mean vectors, so
that no matrix of distances is needed: an hour of speech (7,200 windows) would need 200 MB for one. Merges are found along chains
of nearest neighbours (Murtagh 1983), which gives the same tree as merging the closest pair each time, since the mean distance is
reducible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Vectors: TypeAlias = "NDArray[np.float32]"


@dataclass(frozen=True)
class VoiceTree:
    """The merges of n vectors into one. Nodes 0 to n-1 are the vectors; node n+i is the i-th merge, the last one the root."""

    children: tuple[tuple[int, int], ...]
    """The two nodes that each merge joins."""
    heights: tuple[float, ...]
    """Mean cosine distance between their vectors, 0 to 2."""
    sums: Vectors
    """The sum of the vectors below each node, shape (2n-1, dimensions)."""
    counts: NDArray[np.int64]
    """How many vectors are below each node."""

    @property
    def root(self) -> int:
        """The node above all."""
        return len(self.counts) - 1

    def below(self, node: int) -> tuple[int, int] | None:
        """Return a merge's two nodes; None for a vector."""
        size = len(self.children) + 1
        return self.children[node - size] if node >= size else None


def grow(vectors: Vectors) -> VoiceTree:
    """Return the tree of at least one unit vector, shape (n, dimensions)."""
    merges = sorted(_merges(vectors), key=lambda merge: merge[2])
    size = len(vectors)
    node_of = list(range(size))
    parent = list(range(size))

    def cluster(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    sums = np.concatenate([vectors, np.zeros((size - 1, vectors.shape[1]), np.float32)])
    counts = np.ones(2 * size - 1, np.int64)
    children = []
    for number, (one, other, _) in enumerate(merges):
        kept, gone = cluster(one), cluster(other)
        left, right = node_of[kept], node_of[gone]
        children.append((left, right))
        sums[size + number] = sums[left] + sums[right]
        counts[size + number] = counts[left] + counts[right]
        parent[gone], node_of[kept] = kept, size + number
    return VoiceTree(tuple(children), tuple(merge[2] for merge in merges), sums, counts)


def _merges(vectors: Vectors) -> list[tuple[int, int, float]]:
    """Return (a vector of the one cluster, a vector of the other, distance) for each merge, in no order."""
    means, counts = vectors.astype(np.float32).copy(), np.ones(len(vectors), np.float32)
    names = np.arange(len(vectors))
    merges: list[tuple[int, int, float]] = []
    chain: list[int] = []
    while len(merges) < len(vectors) - 1:
        if not chain:
            if len(vectors) - len(merges) < len(means) // 2:
                keep = counts > 0
                means, counts, names = means[keep], counts[keep], names[keep]
            chain.append(int(np.argmax(counts > 0)))
        top = chain[-1]
        likeness = means @ means[top]
        likeness[counts == 0] = -np.inf
        likeness[top] = -np.inf
        nearest = int(np.argmax(likeness))
        if len(chain) > 1 and likeness[chain[-2]] >= likeness[nearest]:
            nearest = chain[-2]
        if len(chain) < 2 or nearest != chain[-2]:
            chain.append(nearest)
            continue
        del chain[-2:]
        merges.append((int(names[top]), int(names[nearest]), 1.0 - float(likeness[nearest])))
        both = counts[top] + counts[nearest]
        means[top] = (means[top] * counts[top] + means[nearest] * counts[nearest]) / both
        counts[top], counts[nearest] = both, 0
    return merges
