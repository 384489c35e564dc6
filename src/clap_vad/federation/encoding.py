"""Updates in 8 bits instead of 32: how a site encodes its numbers, and how the coordinator decodes them.

A float32 number leaves a site as a whole number of steps between -127 and 127, rounded at random so that it is right
on average. The question gives one step per array, common to all sites. So sums of whole numbers over sites have a
meaning, also under masks, where no single site's numbers are seen. What rounding and clipping remove stays in the
site's own state and is added to its next update (error feedback: Seide et al. 2014; Karimireddy et al. 2019, algorithm
1). So nothing is lost for good, however coarse the steps.

The encoded numbers are those that go into the sum. Without masks that is the update itself, which the coordinator
weights. Under masks it is the update times the site's share of all segments: the numbers of a small site are then
mostly 0 steps and rarely 1, right on average, and the rest waits in its state in the same unit.

The coordinator derives the steps from the last mean update that it decoded, in which no single site can be seen. Before
the first one it asks for float32: a scale guessed from anything else (initial weights, learning rate) is wrong by
orders of magnitude for some method, and a step far too large turns an update into noise (1-bit Adam warms up alike:
Tang et al. 2021). In a masked sum all sites must have the same steps, like the rest of the question. Otherwise a
coordinator could give one site fine steps and the others coarse ones, in which they send zeros, and read that site's
update in the sum.
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
        participants: largest number in a sum.
        secure: whether sums are masked.
        updates: whether sites send updates.
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
        """The message in whole steps; replaces the entries of the state that hold the remainder.

        Args:
            ask: the question, with steps.
            name: schema of the message.
            message: checked against it.
            state: the site's own.

        Raises:
            RefusalError: a question with invalid steps.
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
    """The question for a reply in 8 bits, if its schema has an 8-bit twin and the scale of all its numbers is known.

    Args:
        ask: the question.
        state: the coordinator's.
        parts: number of parts of the sum, of which a site encodes one: the participants under masks, else 1.
    """
    twin = encoded(ask.reply)
    if twin is None or any(_SCALE + key not in state for key in _numbers(ask.reply)):
        return ask
    steps = {_STEP + key: np.asarray(step_for(float(state[_SCALE + key]), parts)) for key in _numbers(ask.reply)}
    number = state.setdefault(_NUMBER, np.array(0))
    return replace(ask, reply=twin, payload={**ask.payload, **steps, _NUMBER: number})


def read_replies(ask: Ask, asked: Ask, replies: Sequence[Reply], state: State) -> list[Reply]:
    """The replies to the original question, float32.

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
    """Save the scale of these decoded replies' mean for the next question; all of them are used."""
    if encoded(ask.reply) is None:
        return
    counts = [int(reply.message["count"]) for reply in replies]
    if sum(counts):  # else no site trained, and zeros do not predict the next scale
        arrays = [{key: np.asarray(reply.message[key]) for key in _numbers(ask.reply)} for reply in replies]
        for key, mean in weighted_mean(arrays, counts).items():
            state[_SCALE + key] = np.sqrt(np.mean(np.square(mean, dtype=np.float64)))


def decoded(message: Message, payload: Mapping[str, object]) -> Message:
    """A message in the steps of this question, or the mean of such messages, decoded to float32."""
    keys = [key.removeprefix(_STEP) for key in payload if key.startswith(_STEP)]
    numbers = {key: np.asarray(message[key], np.float64) * _step(payload, key) for key in keys}
    return {**message, **{key: value.astype(np.float32) for key, value in numbers.items()}}
