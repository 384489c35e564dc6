"""Attack: recover rows with mixtures whose cells are so small that each contains only one or two rows.

The first question divides the space into cells; each later one divides the smallest of them into parts with about one
or two rows each, and assigns all other rows to a wide component. Known rows are subtracted from all answers so far, so
that further sums can be resolved. Every answer determines the next question; all questions of a run are used.

With noise the mean of each cell with a small mass is only a guess. The alternative is to repeat questions, so that the
noise averages out: first about cells anywhere, then about the cells with the most rows, last about narrow cells there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from ...core.density.bounded_density import BoundedSums
from ...core.density.gaussian_mixture import COMPONENTS, CUT, LEAST_VARIANCE, Mixture, posteriors
from .cells import LEAST_MASS, WHOLE, CellSums, about, mean_sums, spheres

__all__ = ["CellSearch", "averaged_guesses"]

_PER_CELL, _LEFT = 1.5, 0.5
"""Intended rows per cell, and least mass at which a cell is divided again."""

_MOST_GUESSED = 3.0
_DRAWN, _PASSES = 30, 6

_PARTS = (0.25, 0.25, 0.5)
"""Shares of the rounds: for cells anywhere, for cells with most rows, and for narrow cells there."""
_WIDTHS = (0.35, 0.17)
"""Widths of the cells in the second and third part, in standard deviations of the rows."""
_DENSE, _LEAST_HELD = 24, 4.0


class CellSearch:
    """Adaptive questions about one set of rows.

    Args:
        dim: d.
        radius: R of the sums.
        scale: standard deviation of the rows in the coordinates chosen by the coordinator.
        exact: True if the sums have no noise.
        whole: True if a row counts 1 (with ``--dp crop``), not a fraction of its video.
        rng: draws cells.
    """

    def __init__(
        self, dim: int, radius: float, scale: float, *, exact: bool, whole: bool, rng: np.random.Generator
    ) -> None:
        self._dim, self._radius, self._scale, self._rng = dim, radius, scale, rng
        self._exact, self._whole = exact, whole
        self._answers: list[CellSums] = []
        self._asked: Mixture | None = None
        self._tries: dict[tuple[int, int], int] = {}
        self.rows, self._weights = np.zeros((0, dim), np.float32), np.zeros(0)
        self._guesses: list[np.ndarray] = []

    def question(self) -> Mixture:
        """The next mixture."""
        if not self._answers:
            self._asked = self._anywhere()
        elif len(self._answers) == 1:
            self._asked = self._everywhere()
        else:
            self._asked = self._focus()
        return self._asked

    def answered(self, sums: BoundedSums) -> None:
        """Use the answer to the last question."""
        assert self._asked is not None
        found = CellSums(self._asked, sums, self._radius)
        self._answers.append(found)
        if not self._exact:
            few = [k for k in range(COMPONENTS) if 0.5 <= found.mass[k] <= _MOST_GUESSED]
            self._guesses += [found.mean(k) for k in few]
            return
        if len(self.rows):
            found.without(self.rows, self._weights)
        while self._open():
            pass

    @property
    def guesses(self) -> np.ndarray:
        """(n, d) estimated rows."""
        if self._exact:
            return self.rows.astype(np.float64)
        return np.array(self._guesses).reshape(-1, self._dim)

    def _open(self) -> bool:
        """Recover all rows that can be resolved; returns whether there were any."""
        found: list[np.ndarray] = []
        weights: list[float] = []
        for answer in self._answers:
            for cell in np.flatnonzero(answer.mass > LEAST_MASS):
                for row in answer.opened(int(cell), self._whole).astype(np.float32):
                    known = [*self.rows, *found]
                    if known and np.abs(np.array(known) - row).max(axis=1).min() < 1e-5:
                        continue
                    share = posteriors(answer.mixture, row[None].astype(np.float64))[0, cell]
                    pair = self._whole and abs(answer.mass[cell] - 2) < WHOLE
                    weight = 1.0 if pair else float(answer.mass[cell] / max(share, LEAST_MASS))
                    found.append(row)
                    weights.append(max(round(weight), 1) if self._whole else weight)
        if not found:
            return False
        new, held = np.array(found, np.float32), np.array(weights)
        for answer in self._answers:
            answer.without(new, held)
        self.rows, self._weights = np.concatenate([self.rows, new]), np.concatenate([self._weights, held])
        return True

    def _anywhere(self) -> Mixture:
        """Cells around draws of a standard Gaussian, because nothing else is known before the first question."""
        return about(self._rng.standard_normal((COMPONENTS, self._dim)) * self._scale, self._scale)

    def _everywhere(self) -> Mixture:
        """As many cells as allowed, placed where the rows are."""
        answer = self._answers[0]
        mass = np.maximum(answer.mass, 0.0)
        shares = np.floor(COMPONENTS * mass / max(mass.sum(), 1e-9)).astype(int)
        for cell in np.argsort(shares - COMPONENTS * mass / max(mass.sum(), 1e-9))[: COMPONENTS - shares.sum()]:
            shares[cell] += 1
        means, spreads = [], []
        for cell in np.flatnonzero(shares):
            centres, reach = self._cut(*self._estimate(answer, int(cell)), int(shares[cell]))
            means += list(centres)
            spreads += [reach] * len(centres)
        variance = max(LEAST_VARIANCE, (float(np.median(spreads)) / self._radius) ** 2 * 2)
        return spheres(np.zeros(len(means)), np.array(means), np.full(len(means), variance))

    def _focus(self) -> Mixture:
        """The smallest cells divided into parts for one or two rows each; a wide component for all other rows."""
        d, room = self._dim, COMPONENTS - 1
        means, variances, logs = [], [], []
        for _, answer, cell in self._eligible():
            if room < 2:
                break
            number = self._answers.index(answer)
            pieces = min(max(2, math.ceil(answer.mass[cell] / _PER_CELL)), room)
            centres, reach = self._cut(*self._estimate(answer, cell), pieces)
            variance = max(LEAST_VARIANCE, (reach / self._radius) ** 2)
            edge = 1.1 * reach  # beyond it a row belongs to the wide component
            self._tries[number, cell] = self._tries.get((number, cell), 0) + 1
            for centre in centres:
                means.append(centre)
                variances.append(variance)
                logs.append(edge**2 / (2 * variance) + d / 2 * math.log(variance / CUT**2))
            room -= len(centres)
        if not means:
            return self._anywhere()
        return spheres(np.array([*logs, 0.0]), np.array([*means, np.zeros(d)]), np.array([*variances, CUT**2]))

    def _eligible(self) -> list[tuple[float, CellSums, int]]:
        """Cells with unknown rows, the smallest first; cells that were divided before come later."""
        found = []
        for number, answer in enumerate(self._answers[1:], start=1):
            cells = COMPONENTS if number == 1 else COMPONENTS - 1  # the last one is the wide one
            for cell in np.flatnonzero(answer.mass[:cells] > (_LEFT if number == 1 else _PER_CELL)):
                tries = self._tries.get((number, int(cell)), 0)
                found.append((float(answer.mass[cell]) * (1 + tries), answer, int(cell)))
        return sorted(found, key=lambda each: each[0])

    def _estimate(self, answer: CellSums, cell: int) -> tuple[np.ndarray, np.ndarray]:
        if answer.mass[cell] < LEAST_MASS:
            return answer.mixture.means[cell], answer.mixture.covariances[cell]
        mean, spread = answer.gaussian(cell)
        return np.clip(mean, -CUT, CUT), spread

    def _cut(self, mean: np.ndarray, spread: np.ndarray, pieces: int) -> tuple[np.ndarray, float]:
        """Centres of equal parts of a Gaussian, by k-means on draws, and the distance of its rows from them."""
        drawn = self._rng.multivariate_normal(mean, spread, _DRAWN * pieces, check_valid="ignore")
        centres = drawn[:pieces].copy()
        for _ in range(_PASSES):
            apart = np.square(drawn[:, None] - centres[None]).sum(axis=2)
            nearest = apart.argmin(axis=1)
            for piece in range(pieces):
                if (nearest == piece).any():
                    centres[piece] = drawn[nearest == piece].mean(axis=0)
        apart = np.square(drawn[:, None] - centres[None]).sum(axis=2).min(axis=1)
        return np.clip(centres, -CUT, CUT), float(np.sqrt(np.quantile(apart, 0.95)))


def averaged_guesses(
    ask: Callable[[Mixture], BoundedSums],
    mixture: Mixture,
    questions: int,
    *,
    radius: float,
    scale: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """(n, d) means of cells that probably contain rows, from averaged answers.

    Args:
        ask: returns the answer to a question.
        mixture: mixture of the first question.
        questions: number of allowed questions.
        radius: R of the sums.
        scale: standard deviation of the rows.
        rng: draws cells near those with the most rows.
    """
    times = [max(1, int(part * questions)) for part in _PARTS[:-1]]
    found = CellSums(mixture, mean_sums(partial(ask, mixture), times[0]), radius)
    for width, often in zip(_WIDTHS, (times[1], max(1, questions - sum(times))), strict=True):
        centres: list[np.ndarray] = []
        for cell in np.argsort(-found.mass)[:_DENSE]:
            if found.mass[cell] >= _LEAST_HELD or not centres:
                middle = np.clip(found.mean(int(cell)), -CUT, CUT)
                beside = COMPONENTS // _DENSE
                centres += [middle, *(middle + width / 2 * scale * rng.standard_normal((beside, mixture.dim)))]
        narrow = np.clip(np.array(centres)[:COMPONENTS], -CUT, CUT)
        asked = spheres(np.zeros(len(narrow)), narrow, np.full(len(narrow), (width * scale) ** 2))
        found = CellSums(asked, mean_sums(partial(ask, asked), often), radius)
    held = np.flatnonzero(found.mass >= 0.5)
    return np.array([found.mean(int(cell)) for cell in held]).reshape(-1, mixture.dim)
