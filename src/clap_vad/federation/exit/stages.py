"""The order of the stages on the way out of a site. It is stated here and nowhere else.

A question passes all of them in turn. If one raises, nothing leaves. Reasons for the order:

- a question refused by the policy is not recorded; one refused by the account or out of turn is not computed;
- budgets are checked before the step draws anything;
- noise is added to the true numbers, then they are encoded in 8 bits, then masked;
- a repeated answer is compared before masks, which are new each time;
- account and ledger record what leaves, with masks and noise. The account comes first: a reply that it refuses is in no
  ledger;
- the state is kept last, so that a refused question leaves no state.

A process may be killed between any two stages: a recorded question then counts, and may be asked again.
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
    """The stages of a step's reply, in order, without those that the run does not need. Arguments as for a site."""
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
