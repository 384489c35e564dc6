"""The site of one organisation: takes part in any run that its policy permits, with its own videos."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..algorithms.method_site import MethodSite
from ..algorithms.model_info import model_info
from ..algorithms.site_data import site_data
from ..core.statistics.accounting import Terms
from ..core.statistics.histogram import score_histogram
from ..datasets.dataset import Dataset
from ..errors import ClapError
from ..evaluation.counts import count_frames
from ..evaluation.scoring import score_test_videos
from ..features.store.description import describe
from ..federation.account import Account
from ..federation.ask import Ask, State
from ..federation.checkpoint import SiteState
from ..federation.conversation import Turn
from ..federation.encoding import SiteEncoding
from ..federation.messages import ACKNOWLEDGEMENT, Message
from ..federation.policy import Policy, RefusalError
from ..federation.privacy import SitePrivacy
from ..federation.program import Handler
from ..federation.run_account import RunAccount
from ..federation.secure import SiteProtection
from ..federation.site import Site
from ..protection.signing import Signer
from .handshake import description_to_array
from .resolved_run import ResolvedRun
from .site_account import data_of, open_account

__all__ = ["SiteExecutor"]

_RUN = re.compile(r"[a-z0-9-]{1,64}")


class SiteExecutor:
    """Answers the questions of every run.

    Args:
        name: of the site, its id as a participant.
        dataset: folder of its dataset; all training videos in it are its own.
        home: the site's folder, with a folder per run, ``runs/ID/``, and the account of all runs, ``account.jsonl``.
        policy: file of its rules, read again for each question.
        signer: makes the signer of its keys, which also verifies those of other sites, for secure aggregation.
    """

    def __init__(self, name: str, dataset: Path, home: Path, policy: Path, signer: Callable[[], Signer]) -> None:
        self.name = name
        self._dataset = dataset
        self._home = home
        self._policy = policy
        self._signer = signer
        self._account: Account | None = None
        self._programs: dict[bytes, _Program] = {}

    def handle(self, run: str, ask: Ask) -> Message:
        """Answer one question of a run.

        Args:
            run: its id.
            ask: the question.

        Raises:
            RefusalError: it is outside the site's policy, or unknown to the site.
            ClapError: it cannot be answered; the message may name files and is for the site's operator only.
        """
        if not _RUN.fullmatch(run):
            raise RefusalError("a run whose id cannot name a folder")
        home = self._home / "runs" / run
        states = SiteState(home / "state")
        before = states.before(ask.accepted.get(self.name, -1) + 1)
        policy = Policy.read(self._policy)
        program = self._program(before.get("agreement"), policy)
        privacy = None
        if program.terms is not None:
            privacy = SitePrivacy(self.name, program.terms, home, one_process=False)
        elif "agreement" in before and (home / "privacy.jsonl").exists():
            raise RefusalError("this run began with differential privacy; refused without it")
        terms, spent = program.terms, privacy.spent if privacy is not None else dict
        account = RunAccount(self._opened_account(), policy, run, program.data, terms, spent)
        program.account = account
        modes = (program.protection, privacy, program.encoding, account)
        reply = Site(self.name, program, states, home, policy, *modes).handle(ask)
        program.keep_models(states, ask.sequence, home / "model")
        return reply

    def _opened_account(self) -> Account:
        if self._account is None:
            self._account = open_account(self._home)
        return self._account

    def _program(self, specification: np.ndarray | None, policy: Policy) -> _Program:
        """The site's side of a run; before the resolved run specification is known, only the handshake."""
        key = b"" if specification is None else specification.tobytes()
        if key not in self._programs:
            made = _Program(self.name, Dataset(self._dataset), specification, self._signer, policy)
            self._programs = {key: made}  # one run at a time
        program = self._programs[key]
        program.policy = policy
        return program


class _Program:
    """A site's side of a run: handshake, method, and evaluation on the site's own test videos."""

    def __init__(
        self,
        name: str,
        dataset: Dataset,
        specification: np.ndarray | None,
        signer: Callable[[], Signer],
        policy: Policy,
    ) -> None:
        self.policy = policy
        self.account: RunAccount | None = None
        self.data = data_of(dataset)
        self.protection: SiteProtection | None = None
        self.terms: Terms | None = None
        self.encoding: SiteEncoding | None = None
        self._name, self._dataset = name, dataset
        self.steps: dict[str, tuple[Handler, str]] = {
            "describe": (self._describe, "features_description"),
            "begin": (self._begin, ACKNOWLEDGEMENT),
        }
        self.order: tuple[Turn, ...] = (Turn(("describe",)), Turn(("begin",), lasting=True))
        self.dim = 0
        if specification is not None:
            resolved = ResolvedRun.from_array(specification)
            self._method = self._make(resolved)
            self.dim = self._method.dim
            self.steps |= self._method.steps
            self.order += self._method.order
            self.terms = resolved.spec.privacy
            if self.terms is None:  # counts of frames have no noise
                self.steps["evaluate"] = (self._evaluate, "evaluation_histogram")
                self.order += (Turn(("evaluate",)),)
            if resolved.spec.secure_aggregation:
                self.protection = SiteProtection(name, resolved.participants, signer(), policy.minimum_cohort)
            if resolved.spec.update_encoding == "int8":
                self.encoding = SiteEncoding(name, resolved.spec.seed)

    def _describe(self, payload: Message, state: State) -> Message:
        return {"description": description_to_array(describe(self._dataset.stores[0]))}

    def _begin(self, payload: Message, state: State) -> Message:
        resolved = ResolvedRun.from_array(np.asarray(payload["agreement"]))
        epsilon, terms = resolved.check_promise(), resolved.spec.privacy
        unit = "video" if terms is None else terms.unit
        needs_noise = "crop" in resolved.make_method().private_units
        self.policy.check_run(
            len(resolved.participants),
            resolved.spec.rounds,
            epsilon,
            resolved.spec.secure_aggregation,
            unit,
            needs_noise,
        )
        assert self.account is not None  # given before any question
        self.account.check_run(terms)
        self._make(resolved)
        state["agreement"] = np.array(payload["agreement"])
        return {}

    def _make(self, resolved: ResolvedRun) -> MethodSite:
        if self._name not in resolved.participants:
            raise RefusalError(f"site '{self._name}' is not among the participants of this run")
        own = describe(self._dataset.stores[0])
        if odd := [name for name in own if own[name] != resolved.features.get(name)]:
            raise RefusalError(
                f"the features of site '{self._name}' are not those of this run ({', '.join(odd)} differ)"
            )
        videos = self._dataset.train_videos
        if not videos:
            raise ClapError(f"{self._dataset.path / 'videos.csv'}: no training videos; mark some with split 'train'")
        labelled = videos if self._name in resolved.labelled else ()
        return resolved.make_method().site(resolved.plan(), site_data(self._dataset, self._name, videos, labelled))

    def keep_models(self, states: SiteState, sequence: int, folder: Path) -> None:
        """Write the site's own models once a run has completed them, so that its operator can score videos."""
        if not self.dim or self._method.completed_by is None or (folder / "model.json").exists():
            return  # before the state is read again
        state = states.before(sequence + 1)
        if self._method.completed_by in state:
            info = model_info(describe(self._dataset.stores[0]), state)
            personalised = self._method.personalised({}, state, {**info, "provenance": {"site": self._name}})
            personalised.save(folder)

    def _evaluate(self, payload: Message, state: State) -> Message:
        """Histograms of the scores of the site's test frames; zeros without test videos or ground truth."""
        personalised = self._method.personalised(payload, state, describe(self._dataset.stores[0]))
        scores = score_test_videos(self._dataset, personalised, self._method.plan.spec.threads)
        found, abnormal, normal = count_frames(self._dataset, scores).arrays()
        return {"normal": score_histogram(found, normal), "abnormal": score_histogram(found, abnormal)}
