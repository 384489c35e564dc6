"""Small clients whose loss is known in closed form, and rounds of them, through the public interface of a strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from clap_vad.detector.drift import Correction
from clap_vad.federation.ask import State
from clap_vad.federation.messages import Message
from clap_vad.federation.strategy import Contribution, Strategy


def split(vector: np.ndarray) -> dict[str, np.ndarray]:
    """A vector of at least three numbers as the weights of a layer, float32."""
    return {"layer.weight": vector[:-1].reshape(1, -1).astype(np.float32), "layer.bias": vector[-1:].astype(np.float32)}


def join(weights) -> np.ndarray:
    """The inverse of split, float64."""
    return np.concatenate([weights["layer.weight"].reshape(-1), weights["layer.bias"]]).astype(np.float64)


def contribution(count: int, update: np.ndarray, control: np.ndarray | None = None) -> Contribution:
    """What a participant gives; with a change of its control variate as SCAFFOLD's message has it."""
    changes = {} if control is None else {f"control.{name}": value for name, value in split(control).items()}
    return Contribution(count, split(update), {"count": count, **changes})


@dataclass
class Quadratic:
    """A participant with the loss ``(w - b)' A (w - b) / 2`` that takes local steps of SGD, in float64."""

    curvature: np.ndarray
    optimum: np.ndarray
    count: int = 1
    steps: int = 1
    lr: float = 0.1
    momentum: float = 0.0
    state: State = field(default_factory=dict)

    def path(self, start: np.ndarray, correction: Correction | None) -> tuple[np.ndarray, float]:
        """Where the local steps end, and the distance that a constant gradient of one would have gone."""
        correction = correction or Correction()
        offset = join(correction.offset) if correction.offset is not None else 0.0
        w, v, speed, travel = start.copy(), np.zeros_like(start), 0.0, 0.0
        for _ in range(self.steps):
            v = self.momentum * v + self.curvature @ (w - self.optimum) + offset
            w = w - self.lr * v
            w = w + correction.pull(self.lr) * (start - w)
            speed = self.momentum * speed + 1
            travel += self.lr * speed
        return w, travel

    def answer(self, strategy: Strategy, payload: Message, weights: dict[str, np.ndarray]) -> Contribution:
        """The site's part of a round."""
        start = join(weights)
        end, travel = self.path(start, strategy.correction(payload, self.state))
        update = split(end - start)
        return Contribution(self.count, update, strategy.report(payload, self.state, update, travel))


def fresh(clients: Sequence[Quadratic]) -> list[Quadratic]:
    """The same clients before their first round."""
    return [Quadratic(c.curvature, c.optimum, c.count, c.steps, c.lr, c.momentum) for c in clients]


def reloaded(state: State) -> State:
    """The state as a restarted process reads it; whoever changes an array of it in place is stopped."""
    copies = {name: value.copy() for name, value in state.items()}
    for value in copies.values():
        value.setflags(write=False)
    return copies


def train(
    strategy: Strategy,
    clients: Sequence[Quadratic],
    start: np.ndarray,
    rounds: int,
    drawn: Sequence[Sequence[int]] | None = None,
) -> list[np.ndarray]:
    """The global model after each round, all processes restarted between them.

    Args:
        drawn: indices of each round's participants; all in every round by default.
    """
    weights, state, models = split(start), {}, []
    total = sum(client.count for client in clients)
    for number in range(rounds):
        taking = [clients[i] for i in drawn[number]] if drawn else clients
        payload = strategy.question(weights, state)
        contributions = [client.answer(strategy, payload, weights) for client in taking]
        weights = strategy.aggregate(weights, contributions, state, total)
        assert all(value.dtype == np.float32 for value in (*weights.values(), *state.values()))
        assert all(name.startswith("strategy.") for name in state)
        state = reloaded(state)
        for client in clients:
            client.state = reloaded(client.state)
        models.append(join(weights))
    return models


def combined(strategy: Strategy, start: np.ndarray, rounds: Sequence[Sequence[Contribution]]) -> list[np.ndarray]:
    """The global model after each round of ready contributions."""
    weights, state, models = split(start), {}, []
    for contributions in rounds:
        strategy.question(weights, state)
        weights = strategy.aggregate(weights, contributions, state, sum(c.count for c in contributions))
        state = reloaded(state)
        models.append(join(weights))
    return models
