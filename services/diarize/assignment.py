"""The best one-to-one matching of two sets of names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def best_pairs(gain: Mapping[tuple[str, str], float]) -> dict[str, str]:
    """Return the pairs whose gains sum up highest, no name twice; a pair that is not given gains nothing and is not made."""
    if not gain:
        return {}
    ones, others = (sorted(set(side)) for side in zip(*gain, strict=True))
    size = max(len(ones), len(others))
    cost = np.zeros((size, size))
    for (one, other), value in gain.items():
        cost[ones.index(one), others.index(other)] = -value
    pairs = ((ones[i], others[j]) for i, j in enumerate(_assign(cost)) if i < len(ones) and j < len(others))
    return {one: other for one, other in pairs if gain.get((one, other), 0.0) > 0}


def _assign(cost: NDArray[np.float64]) -> list[int]:
    """Return the column of each row in the cheapest assignment of a square matrix: the Hungarian method by shortest paths."""
    size = len(cost)
    row_price, column_price = np.zeros(size + 1), np.zeros(size + 1)
    row_of = np.zeros(size + 1, int)  # of each column, counted from 1; 0: none
    for row in range(1, size + 1):
        row_of[0], column = row, 0
        distance, came_from = np.full(size + 1, np.inf), np.zeros(size + 1, int)
        visited = np.zeros(size + 1, bool)
        while row_of[column]:
            visited[column] = True
            here = row_of[column]
            ahead = ~visited[1:]
            reduced = cost[here - 1] - row_price[here] - column_price[1:]
            nearer = ahead & (reduced < distance[1:])
            distance[1:][nearer] = reduced[nearer]
            came_from[1:][nearer] = column
            following = 1 + int(np.where(ahead, distance[1:], np.inf).argmin())
            step = distance[following]
            row_price[row_of[visited]] += step
            column_price[visited] -= step
            distance[~visited] -= step
            column = following
        while column:
            row_of[column] = row_of[came_from[column]]
            column = came_from[column]
    columns = [0] * size
    for column in range(1, size + 1):
        columns[row_of[column] - 1] = column - 1
    return columns
