"""A federation in one process: sites from a dataset's participants, a method, a strategy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..algorithms.method import Method
from ..algorithms.method_site import MethodSite
from ..algorithms.model_info import calibration_of
from ..algorithms.plan import Plan
from ..algorithms.site_data import site_data
from ..datasets.dataset import Dataset
from ..detector.model import Model
from ..engines.inprocess import InProcessEngine
from ..federation.ask import Ask, State, Steps
from ..federation.checkpoint import Checkpoint, RoundLog, SiteState
from ..federation.coordinator import coordinate
from ..federation.encoding import SiteEncoding
from ..federation.left_out import left_out
from ..federation.privacy import SitePrivacy
from ..federation.secure import SiteProtection
from ..federation.site import Site
from ..protection.session import LEAST_COHORT
from ..protection.signing import UnauthenticatedSigner

__all__ = ["Federation"]


@dataclass(frozen=True)
class Federation:
    """A method run by some participants; its folder holds all that is needed to continue after a kill.

    Attributes:
        folder: receives ``checkpoints/``, ``sites/ID/`` and ``rounds.jsonl``.
        participants: id -> training videos, in order.
        plan: of the run; its participants are replaced by these.
        labelled: training videos whose labels the method may read.
    """

    folder: Path
    dataset: Dataset
    participants: Mapping[str, Sequence[str]]
    plan: Plan
    method: Method
    labelled: Collection[str] = ()

    def run(
        self,
        on_reply: Callable[[Ask, str], None] = lambda ask, participant: None,
        on_round: Callable[[State], dict[str, Any]] = lambda state: {},
        on_left_out: Callable[[str, str], None] = lambda participant, why: None,
    ) -> State:
        """Run to the end, from the last checkpoint if there is one.

        Args:
            on_reply: called after each reply, for progress.
            on_round: called with the coordinator's state after each round; its result is logged with the round.
            on_left_out: called with a participant that is left out of the rest of the run, and the reason.

        Returns:
            The coordinator's final state.
        """
        checkpoint = Checkpoint(self.folder / "checkpoints")
        log = RoundLog(self.folder / "rounds.jsonl")
        log.rewind(int(checkpoint.load().get("round", 0)))
        plan = self.agreed

        def steps(state: State) -> Steps:
            return self.method.coordinate(plan, state, lambda record: log.append({**record, **on_round(state)}))

        engine = InProcessEngine(self.sites(), on_reply)
        return coordinate(
            steps,
            engine,
            checkpoint,
            plan.dim,
            secure=plan.spec.secure_aggregation,
            update_encoding=plan.spec.update_encoding,
            on_left_out=on_left_out,
        )

    @property
    def agreed(self) -> Plan:
        """The plan with the participants of this federation."""
        return replace(self.plan, participants=tuple(self.participants))

    def personalised(self, state: State) -> dict[str, Model]:
        """Scene -> personalised model, after the run that ended in this state.

        A scene of several participants and the scenes of a left-out participant get no personalised model: the common
        model scores them.
        """
        found: dict[str, list[Model]] = {}
        if not self.method.personalises:
            return {}
        question, sequence = self.method.final_question(state), int(state["sequence"])
        out = left_out(state)
        for site in self.sites():
            if site.participant in out:
                continue
            known = site.state(sequence)
            # The threshold of a personalised model comes from its own site's scores, which no other site can change.
            info = {"calibration": calibration_of(known)} if "score_histogram" in known else {}
            own = self.program(site.participant).personalised(question, known, info).own
            for scene, model in own.items():
                found.setdefault(scene, []).append(model)
        return {scene: models[0] for scene, models in found.items() if len(models) == 1}

    def sites(self) -> list[Site]:
        """The participants as site objects, in order."""
        return [self._site(participant) for participant in self.participants]

    def program(self, participant: str) -> MethodSite:
        """The method's program at one participant."""
        data = site_data(self.dataset, participant, self.participants[participant], self.labelled)
        return self.method.site(self.agreed, data)

    def _site(self, participant: str) -> Site:
        folder = self.folder / "sites" / participant
        protection, privacy, encoding = None, None, None
        if self.plan.spec.secure_aggregation:
            signer = UnauthenticatedSigner()  # one process carries all messages itself
            protection = SiteProtection(participant, list(self.participants), signer, LEAST_COHORT)
        if self.plan.spec.privacy is not None:
            privacy = SitePrivacy(participant, self.plan.spec.privacy, folder, one_process=True)
        if self.plan.spec.update_encoding == "int8":
            encoding = SiteEncoding(participant, self.plan.spec.seed)
        states, modes = SiteState(folder / "state"), (protection, privacy, encoding)
        return Site(participant, self.program(participant), states, folder, None, *modes, one_process=True)
