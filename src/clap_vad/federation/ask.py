"""Questions of the coordinator's side of an algorithm to the sites, and their replies."""

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
        identity: unique name of the sum.
        phase: of the protocol.
        schema: of the messages that are summed.
        participants: who takes part, in the order of rows.
        total: segments of all participants, for a sum of means; 0 for plain sums.
        cohort: least number of sites in the sum.
        question: digest of the question, see :func:`~clap_vad.federation.question.question_digest`, in hex.
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
        step: the site's step to run.
        payload: arrays and scalars for the sites.
        reply: name of the schema that replies must have.
        min_replies: with fewer replies the step fails; 0 means as many as the run asks for, or all targets.
        deadline: seconds to wait for stragglers; 0 means as long as the run allows, or without limit.
        targets: participants asked; None means all.
        lasting: later steps need what a site keeps of this one, so a site that missed it does it before any other
            question. False for a step that a site may miss, such as a round of training.
        optional: the run continues without any usable reply; the steps are then sent an empty list.
        total: segments of all participants, if replies are means over a site's segments, weighted by its share.
        secure: the secure sum that this question belongs to, set by the driver.
        silent: the site does the step and keeps its changes, but sends only an acknowledgement.
        sequence: running number of this question in the run, set by the driver.
        accepted: per participant the number of its last answer that was used, set by the driver; -1 for none. The
            site starts from its state after that answer. Later answers (too late, or lost when the coordinator was
            killed) are ignored.
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
        participant: its id.
        message: its values; empty if it is not used.
        impossible: why the values are impossible, naming the site; empty for a valid reply. The driver leaves the site
            out of the run; the steps of an algorithm never see such a reply.
    """

    participant: str
    message: Message
    impossible: str = ""


State = dict[str, np.ndarray]
"""What a coordinator or a site keeps between steps: arrays only, saved after every step."""

Steps = Generator[Ask, list[Reply], None]
"""The coordinator's side of an algorithm: yields questions and is sent the replies; independent of the engine."""
