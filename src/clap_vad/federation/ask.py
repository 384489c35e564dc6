"""What the coordinator's side of an algorithm says to an engine: ask the sites something, wait for their replies."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

import numpy as np

from .messages import Message

__all__ = ["Ask", "Reply", "SecureSum", "State", "Steps"]


@dataclass(frozen=True)
class SecureSum:
    """The secure sum that a question belongs to, see :mod:`clap_vad.federation.secure`.

    Attributes:
        identity: of the sum; no two share it.
        phase: of the protocol.
        schema: of the messages that are summed.
        participants: who takes part, in the order of rows.
        total: what a message's count is a share of, where the sum is one of means; 0 for plain sums.
        cohort: sites that the sum is over at least.
        question: what is asked, see :func:`~clap_vad.federation.question.question_digest`, in hex: the same of all.
    """

    identity: str
    phase: str
    schema: str
    participants: tuple[str, ...]
    total: int = 0
    cohort: int = 3
    question: str = ""


@dataclass(frozen=True)
class Ask:
    """One question to the sites.

    Attributes:
        step: which of the site's steps is to run.
        payload: arrays and scalars that go down to the sites.
        reply: name of the schema that replies must have.
        min_replies: fewer replies than this fail the step; 0 means as many as the run asks for, or all targets.
        deadline: seconds to wait for stragglers; 0 means as long as the run allows, or without limit.
        targets: participants asked; None means all.
        lasting: later steps build on what a site keeps of this one, so a site that missed it does it before it is
            asked anything else. False for a step that a site may miss, as it may miss a round of training.
        optional: the run can go on without any answer: where none can be used, the steps are sent an empty list.
        total: segments of all participants, where replies are means over a site's own: each then counts as its share.
        secure: the secure sum that this question belongs to, given by the driver.
        silent: the site does the step and keeps what it changes, but sends an acknowledgement and nothing else.
        sequence: running number of this question in the run, given by the driver.
        accepted: per participant the number of its last answer that counted, given by the driver; -1 for none. The
            site starts from the state it had after that answer: one that came too late, or was lost with a
            coordinator that was killed, never happened.
    """

    step: str
    reply: str
    payload: Message = field(default_factory=dict)
    min_replies: int = 0
    deadline: float = 0.0
    targets: tuple[str, ...] | None = None
    lasting: bool = True
    optional: bool = False
    total: int = 0
    secure: SecureSum | None = None
    silent: bool = False
    sequence: int = 0
    accepted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """One participant's answer.

    Attributes:
        participant: whose it is.
        message: what it says; empty where it is not used.
        impossible: why the answer cannot be true, in words that name the site; empty for one that can. An engine gives
            such a one to the driver, which leaves the site out; the steps of an algorithm never see it.
    """

    participant: str
    message: Message
    impossible: str = ""


State = dict[str, np.ndarray]
"""All that a coordinator or a site remembers between steps; saved after every step, arrays only."""

Steps = Generator[Ask, list[Reply], None]
"""The coordinator's side of an algorithm: yields questions, is sent the replies, never meets an engine."""
