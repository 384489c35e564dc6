"""Replay of a run that records every message to its coordinator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..algorithms.plan import Plan
from ..engines.inprocess import InProcessEngine
from ..federation.ask import Ask, Reply, State, Steps
from ..federation.checkpoint import Checkpoint
from ..federation.coordinator import coordinate
from ..federation.engine import Check
from ..federation.messages import message_bytes
from ..workflows.federate import Federation
from ..workflows.opening import Opened

__all__ = ["Observed", "RecordingEngine", "Seen", "replay"]


@dataclass(frozen=True)
class Seen:
    """A question and its replies.

    Attributes:
        ask: the question.
        replies: on the wire one per participant; as read by the algorithm under secure aggregation, one for all.
    """

    ask: Ask
    replies: list[Reply]

    @property
    def members(self) -> tuple[str, ...]:
        """Participants whose messages are in the replies."""
        return tuple(name for reply in self.replies for name in reply.participant.split(", "))


@dataclass(frozen=True)
class Observed:
    """Everything a coordinator saw of a run.

    Attributes:
        plan: of the run, with the replayed number of rounds.
        wire: messages on the wire, including the phases of secure aggregation.
        read: messages read by the algorithm: only sums under secure aggregation.
        state: the coordinator's final state.
    """

    plan: Plan
    wire: list[Seen] = field(default_factory=list)
    read: list[Seen] = field(default_factory=list)
    state: State = field(default_factory=dict)

    def of(self, step: str) -> list[Seen]:
        """All questions of a step, with the replies read by the algorithm."""
        return [seen for seen in self.read if seen.ask.step == step]

    @property
    def noised(self) -> bool:
        """True if the sites add noise to what they send, or send gradients to which noise is added later."""
        terms = self.plan.spec.privacy
        return (terms is not None and terms.noise_training > 0) or any(
            name.startswith("gradient.") for seen in self.read for reply in seen.replies for name in reply.message
        )

    @property
    def messages(self) -> int:
        """Messages on the wire."""
        return sum(len(seen.replies) for seen in self.wire)

    @property
    def bytes(self) -> int:
        """Bytes of their values."""
        return sum(message_bytes(reply.message) for seen in self.wire for reply in seen.replies)


class RecordingEngine:
    """An engine that records all messages of another engine."""

    def __init__(self, inner: InProcessEngine, kept: list[Seen]) -> None:
        self.participants = inner.participants
        self._inner, self._kept = inner, kept

    def deliver(self, ask: Ask, check: Check) -> list[Reply]:
        """Deliver by the other engine and record the replies."""
        replies = self._inner.deliver(ask, check)
        self._kept.append(Seen(ask, replies))
        return replies


def replay(
    opened: Opened,
    folder: Path,
    rounds: int,
    *,
    without: str = "",
    everybody: bool = False,
    secure: bool | None = None,
    known: Mapping[str, np.ndarray] | None = None,
) -> Observed:
    """Repeat a run's first rounds; with the same participants all numbers except masks are equal, bit for bit.

    Args:
        opened: the run's configuration.
        folder: an empty folder.
        rounds: to repeat at most.
        without: a participant to leave out.
        everybody: let all participants take part in every round, even if the run draws some.
        secure: use secure aggregation; None for the run's own option.
        known: initial entries of the coordinator's state.
    """
    held = {name: videos for name, videos in opened.participants.items() if name != without}
    spec = opened.plan.spec
    same = opened.plan.having(
        rounds=min(rounds, spec.rounds),
        fraction=1.0 if everybody else spec.fraction,
        secure_aggregation=spec.secure_aggregation if secure is None else secure,
    )
    plan = replace(same, participants=tuple(held))
    observed = Observed(plan)
    federation = Federation(folder, opened.dataset, held, plan, opened.method, opened.labelled)
    engine = RecordingEngine(InProcessEngine(federation.sites()), observed.wire)

    checkpoint = Checkpoint(folder / "checkpoints")
    if known:
        checkpoint.save({**dict.fromkeys(("sequence", "bytes_up", "bytes_down"), np.array(0)), **known})

    def steps(state: State) -> Steps:
        return _recorded(opened.method.coordinate(plan, state, lambda record: None), observed.read)

    secure, encoding = plan.spec.secure_aggregation, plan.spec.update_encoding
    final = coordinate(steps, engine, checkpoint, plan.dim, secure=secure, update_encoding=encoding)
    observed.state.update(final)
    return observed


def _recorded(steps: Steps, kept: list[Seen]) -> Steps:
    """Pass on questions and replies, and record them."""
    try:
        ask = next(steps)
        while True:
            replies = yield ask
            kept.append(Seen(ask, replies))
            ask = steps.send(replies)
    except StopIteration:
        return
