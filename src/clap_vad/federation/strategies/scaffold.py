"""SCAFFOLD (Karimireddy et al. 2020, algorithm 1, option II): control variates against client drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.aggregation.average import moved, weighted_mean
from ...detector.drift import Correction
from ...detector.network import Weights
from ...errors import ClapError
from ...settings import option
from ..ask import State
from ..messages import Message
from ..strategy import STRATEGIES, Contribution, Strategy

__all__ = ["Scaffold"]

_CONTROL = "control."
_COMMON = "strategy.control."


@STRATEGIES.register("scaffold")
@dataclass(frozen=True)
class Scaffold(Strategy):
    """Local steps on ``g - c_p + c``, with c_p the participant's control variate and c the common one.

    After its K steps a site sets ``c_p <- c_p - c + (w_global - w_p) / a`` and sends the change of c_p. Here a is the
    distance covered by a constant gradient of one: ``K lr`` for plain SGD as in the paper (the CLAP release
    divides by local epochs instead), and with momentum the sum in which every gradient counts as often as it is
    repeated (Wang et al. 2020, FedNova, section 4), without which the variates would be too large by 1 / (1 - m).

    The paper averages over participants alike; here they are weighted by segments as in FedAvg, so that the aim is the
    loss over all segments: ``w <- w + lr_g sum_S (n_p / n_S) (w_p - w)``, ``c <- c + sum_S (n_p / N) change_p``, with
    n_S the segments of the round's participants and N those of all. Participants may take different numbers of steps.
    """

    reply = "scaffold_update"
    needs_sgd = True

    server_lr: float = option(1.0, "Learning rate of the coordinator's step.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.server_lr <= 0:
            raise ClapError(f"--server-lr is {self.server_lr}; a number above 0 is needed")

    def question(self, weights: Mapping[str, np.ndarray], state: State) -> Message:
        """See :class:`~clap_vad.federation.strategy.Strategy`: c goes down beside the model."""
        for name, value in weights.items():
            state.setdefault(_COMMON + name, np.zeros_like(value))
        return {_CONTROL + name: state[_COMMON + name] for name in weights}

    def correction(self, payload: Message, state: State) -> Correction:
        """See :class:`~clap_vad.federation.strategy.Strategy`."""
        common = {key: np.asarray(value) for key, value in payload.items() if key.startswith(_CONTROL)}
        return Correction(
            offset={key.removeprefix(_CONTROL): c - state.get(key, np.float32(0)) for key, c in common.items()}
        )

    def report(self, payload: Message, state: State, update: Mapping[str, np.ndarray], travel: float) -> Message:
        """See :class:`~clap_vad.federation.strategy.Strategy`; without local steps, nothing changes."""
        changes: Message = {}
        for name, value in update.items():
            key = _CONTROL + name
            old = np.asarray(state.get(key, np.zeros_like(value)))
            new = old - np.asarray(payload[key]) - value / np.float32(travel) if travel else old
            state[key] = new
            changes[key] = new - old
        return changes

    def aggregate(
        self, weights: Mapping[str, np.ndarray], contributions: Sequence[Contribution], state: State, total: int
    ) -> Weights:
        """See :class:`~clap_vad.federation.strategy.Strategy`."""
        counts = [contribution.count for contribution in contributions]
        if sum(counts) == 0:
            return dict(weights)
        share = sum(counts) / total
        changes = [{name: np.asarray(c.message[_CONTROL + name]) for name in weights} for c in contributions]
        for name, change in weighted_mean(changes, counts).items():
            state[_COMMON + name] = state[_COMMON + name] + np.float32(share) * change
        mean = weighted_mean([contribution.update for contribution in contributions], counts)
        return moved(weights, mean, self.server_lr)
