"""Updates in 8 bits instead of 32: what a site sends of its numbers, and what the coordinator reads from it.

A float32 number leaves a site as a whole number of steps between -127 and 127, rounded at random so that it is right
on average. The step is one for a whole array and common to all sites, and comes down with the question: so sums of
whole numbers over sites mean something, under masks too, where nobody may look at one site's. What rounding and
clipping took off stays in the site's own state and is added to what it has to send next (error feedback: Seide et al.
2014; Karimireddy et al. 2019, algorithm 1). So nothing is lost for good, however coarse the steps.

What is encoded is what goes into the sum. Without masks that is the update itself, which the coordinator weights.
Under masks it is the update times the site's share of all segments: numbers of a small site are then mostly no step
and rarely one, right on average, and what is missing waits in its state in the same unit.

The coordinator derives the steps from the mean update that it read last, in which no single site can be seen. As long
as it has read none, it asks for float32: a scale guessed from anything else (initial weights, learning rate) is off by
orders of magnitude for some method, and a step far too large makes noise of an update (1-bit Adam warms up alike: Tang
et al. 2021). In a masked sum all sites have been told the same steps, as all else of the question: a coordinator that
gave one site fine steps and the others coarse ones, in which they send zeros, would read that site's update in the sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..core.aggregation.average import weighted_mean
from ..core.statistics.quantisation import MOST_STEPS, step_for, stochastic_steps
from ..core.statistics.randomness import keyed_generator
from ..errors import ClapError
from ..protection.lanes import most_participants
from .ask import Ask, Reply, State
from .messages import Message, encoded, schema
from .policy import RefusalError
from .secure import share_of

__all__ = [
    "SiteEncoding",
    "check_update_encoding",
    "decoded",
    "encoded_question",
    "keep_scale",
    "read_replies",
]

_STEP = "encoding.step."
_NUMBER = "encoding.number"
_SCALE = "encoding.scale."
_RESIDUAL = "encoding.residual."


def check_update_encoding(update_encoding: str, participants: int, secure: bool, updates: bool = True) -> None:
    """Raise :class:`ClapError` for an encoding that is not possible.

    Args:
        update_encoding: by name.
        participants: that a sum can be over at most.
        secure: whether sums are masked.
        updates: whether sites send any.
    """
    if update_encoding == "float32":
        return
    if not updates:
        raise ClapError("--update-encoding int8 is for updates, and this method adds up sums; leave it out")
    if secure and participants > (most := most_participants(MOST_STEPS)):
        raise ClapError(
            f"--update-encoding int8: a masked sum over {participants} participants has no room for 8 bits of each; at "
            f"most {most} can take part, or take float32"
        )


def _numbers(name: str) -> list[str]:
    """The float32 entries of a schema."""
    return [key for key, field in schema(name).fields.items() if field.dtype == "float32"]


@dataclass(frozen=True)
class SiteEncoding:
    """A site's side.

    Attributes:
        participant: its id.
        seed: of the run.
    """

    participant: str
    seed: int

    def encode(self, ask: Ask, name: str, message: Message, state: State) -> Message:
        """The message in whole steps; replaces the entries of the state that hold what this left over.

        Args:
            ask: the question, with steps.
            name: schema of the message.
            message: checked against it.
            state: the site's own.

        Raises:
            RefusalError: a question whose steps are none.
        """
        number = np.asarray(ask.payload.get(_NUMBER))
        if number.shape != () or number.dtype.kind not in "iu" or number < 0:
            raise RefusalError("a question for an update in 8 bits that has no number; refused")
        rng = keyed_generator(self.seed, int(number), self.participant, f"rounding of {name}")
        share = 1.0 if ask.secure is None else share_of(message, ask.secure)
        steps: Message = {}
        for key in _numbers(name):
            step, left = _step(ask.payload, key), state.get(_RESIDUAL + key, np.float32(0))
            wanted = share * np.asarray(message[key], np.float64) + left
            steps[key] = stochastic_steps(wanted, step, rng)
            state[_RESIDUAL + key] = np.asarray(wanted - step * steps[key], np.float32)
        return {**message, **steps}


def _step(payload: Mapping[str, object], key: str) -> float:
    step = np.asarray(payload.get(_STEP + key))
    if step.shape != () or step.dtype != np.float32 or not 0 < step < np.inf:
        raise RefusalError(f"a question for an update in 8 bits whose step for '{key}' is no number above 0; refused")
    return float(step)


def encoded_question(ask: Ask, state: State, parts: int) -> Ask:
    """The question for a reply in 8 bits, if its schema has such a twin and the scale of all its numbers is known.

    Args:
        ask: the question.
        state: the coordinator's.
        parts: how many parts the sum is of that a site encodes its part of: the participants under masks, else 1.
    """
    twin = encoded(ask.reply)
    if twin is None or any(_SCALE + key not in state for key in _numbers(ask.reply)):
        return ask
    steps = {_STEP + key: np.asarray(step_for(float(state[_SCALE + key]), parts)) for key in _numbers(ask.reply)}
    number = state.setdefault(_NUMBER, np.array(0))
    return replace(ask, reply=twin, payload={**ask.payload, **steps, _NUMBER: number})


def read_replies(ask: Ask, asked: Ask, replies: Sequence[Reply], state: State) -> list[Reply]:
    """The replies as the question wanted them, float32.

    Args:
        ask: the question.
        asked: what :func:`encoded_question` made of it.
        replies: to that.
        state: the coordinator's.
    """
    if asked.reply == ask.reply:
        return list(replies)
    state[_NUMBER] = state[_NUMBER] + 1
    return [Reply(reply.participant, decoded(reply.message, asked.payload)) for reply in replies]


def keep_scale(ask: Ask, replies: Sequence[Reply], state: State) -> None:
    """Keep the scale of these replies' mean for the next question; they are read, and all of them are used."""
    if encoded(ask.reply) is None:
        return
    counts = [int(reply.message["count"]) for reply in replies]
    if sum(counts):  # nobody trained: zeros, which say nothing of what comes next
        arrays = [{key: np.asarray(reply.message[key]) for key in _numbers(ask.reply)} for reply in replies]
        for key, mean in weighted_mean(arrays, counts).items():
            state[_SCALE + key] = np.sqrt(np.mean(np.square(mean, dtype=np.float64)))


def decoded(message: Message, payload: Mapping[str, object]) -> Message:
    """A message in the steps of this question, or the mean of such messages, with float32 numbers in their place."""
    keys = [key.removeprefix(_STEP) for key in payload if key.startswith(_STEP)]
    numbers = {key: np.asarray(message[key], np.float64) * _step(payload, key) for key in keys}
    return {**message, **{key: value.astype(np.float32) for key, value in numbers.items()}}
