"""Regions against a slow flood fill."""

from __future__ import annotations

import numpy as np

from clap_vad.core.events.regions import peak_region
from clap_vad.features.extraction.extractor import make_extractor


def slow_region(shown: np.ndarray, rows: int, cols: int) -> tuple[float, float, float, float]:
    grid = shown.reshape(rows, cols)
    level = np.median(shown) + 0.5 * (shown.max() - np.median(shown))
    start = tuple(map(int, np.unravel_index(np.argmax(grid), grid.shape)))
    found, todo = set(), [start]
    while todo:
        row, col = todo.pop()
        inside = 0 <= row < rows and 0 <= col < cols
        if inside and (row, col) not in found and grid[row, col] >= level:
            found.add((row, col))
            todo += [(row + i, col + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    tops, lefts = [row for row, _ in found], [col for _, col in found]
    return min(lefts) / cols, min(tops) / rows, (max(lefts) + 1) / cols, (max(tops) + 1) / rows


def test_the_region_is_what_a_flood_from_the_peak_reaches():
    rng = np.random.default_rng(0)
    sizes = set()
    for rows, cols in ((6, 8), (1, 5), (3, 3)):
        places = make_extractor("motion", {"rows": rows, "cols": cols}).places
        for _ in range(100):
            shown = rng.exponential(size=rows * cols) ** 2
            found = peak_region(shown, places)
            np.testing.assert_allclose(found, slow_region(shown, rows, cols))
            sizes.add(round((found[2] - found[0]) * cols))
    assert len(sizes) > 2  # not always a lone cell


def test_where_all_places_are_alike_it_is_the_whole_picture():
    places = make_extractor("motion", {}).places
    np.testing.assert_allclose(peak_region(np.ones(len(places)), places), (0, 0, 1, 1))
