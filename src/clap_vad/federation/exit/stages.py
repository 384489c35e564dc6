"""The order of the stages on the way out of a site. It is stated here and nowhere else.

A question passes all of them, one after the other. Nothing leaves where one of them raises. What the order is for:

- what is refused by the policy is not noted, what is refused by the account or in its turn is not worked out;
- budgets are looked at before the step draws anything;
- noise is added to the true numbers, 8 bits are of what goes into a sum, masks lie over both;
- that a repeated answer is the same can be seen under the masks only, for these are new each time;
- account and ledger hold what leaves, masks and noise with it. The account comes first: what it refuses stands in no
  ledger;
- the state is kept last, so that a refused question leaves nothing to go on from.

A process may be killed between any two: what is noted then counts, and the same question may be asked again.
"""

from __future__ import annotations

from pathlib import Path

from ..checkpoint import SiteState
from ..conversation import Conversation
from ..encoding import SiteEncoding
from ..policy import Policy
from ..privacy import SitePrivacy
from ..program import SiteProgram
from ..run_account import RunAccount
from ..secure import SiteProtection
from .add_noise import AddNoise
from .answer_phase import AnswerPhase
from .check_account import CheckAccount
from .check_budget import CheckBudget
from .check_policy import CheckPolicy
from .check_repeat import CheckRepeat
from .encode import Encode
from .enter_account import EnterAccount
from .keep_state import KeepState
from .make_reply import MakeReply
from .mask import Mask
from .passage import Stage
from .take_turn import TakeTurn
from .write_ledger import WriteLedger

__all__ = ["phase_stages", "step_stages"]


def step_stages(
    participant: str,
    program: SiteProgram,
    states: SiteState,
    folder: Path,
    policy: Policy,
    conversation: Conversation,
    protection: SiteProtection | None = None,
    privacy: SitePrivacy | None = None,
    encoding: SiteEncoding | None = None,
    account: RunAccount | None = None,
) -> tuple[Stage, ...]:
    """The stages of a step's reply, in order; without those that the run has no use for. Arguments as of a site."""
    secure, private, encodes = protection is not None, privacy is not None, encoding is not None
    stages: tuple[Stage | None, ...] = (
        CheckPolicy(participant, program, policy, secure=secure, private=private, encodes=encodes),
        CheckAccount(account) if account is not None else None,
        TakeTurn(conversation),
        CheckBudget(privacy) if privacy is not None else None,
        MakeReply(participant, program, states),
        AddNoise(privacy) if privacy is not None else None,
        Encode(encoding, program) if encoding is not None else None,
        CheckRepeat(conversation) if privacy is None else None,
        Mask(protection, program) if protection is not None else None,
        EnterAccount(account, private) if account is not None else None,
        WriteLedger(folder),
        KeepState(participant, states),
    )
    return tuple(stage for stage in stages if stage is not None)


def phase_stages(
    program: SiteProgram,
    folder: Path,
    policy: Policy,
    conversation: Conversation,
    protection: SiteProtection | None = None,
    privacy: SitePrivacy | None = None,
) -> tuple[Stage, ...]:
    """The stages of a reply to a phase of secure aggregation: nothing in it depends on any video."""
    checked = conversation if privacy is None else None
    return AnswerPhase(protection, policy, checked, program), WriteLedger(folder)
