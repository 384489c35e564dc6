"""One federation in this process: sites from a dataset's participants, a method, a strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..algorithms.method import Method
from ..algorithms.plan import Plan, SiteData
from ..datasets.dataset import Dataset
from ..engines.inprocess import InProcessEngine
from ..errors import ClapError
from ..federation.ask import Ask, State
from ..federation.checkpoint import Checkpoint, RoundLog, SiteState
from ..federation.coordinator import coordinate
from ..federation.ledger import Ledger
from ..federation.site import Site
from ..federation.strategy import STRATEGIES

__all__ = ["Federation", "site_data"]


def site_data(dataset: Dataset, participant: str, videos: Sequence[str], supervision: str) -> SiteData:
    """What a participant holds; labels are read only under weak supervision.

    Raises :class:`ClapError` when a video has no features, its label is missing where it is needed, or the
    participant's videos lie in different stores.
    """
    located = [dataset.locate(video) for video in videos]
    if len({store.path for store, _ in located}) != 1:
        raise ClapError(f"{dataset.path}: the training videos of participant '{participant}' lie in different stores")
    labels = None
    if supervision == "ws":
        known = [dataset.videos[video].label for video in videos]
        if None in known:
            video = videos[known.index(None)]
            raise ClapError(
                f"{dataset.path / 'videos.csv'}: training video '{video}' has no label; weak supervision "
                "needs one (0 or 1) for each, or train with --supervision us"
            )
        labels = [label for label in known if label is not None]
    return SiteData(participant, located[0][0], [entry for _, entry in located], labels)


@dataclass(frozen=True)
class Federation:
    """A method run by some participants; everything it needs to go on after a kill lies in its folder.

    Attributes:
        folder: ``checkpoints/``, ``sites/ID/`` and ``rounds.jsonl`` go there.
        participants: id -> training videos, in order.
    """

    folder: Path
    dataset: Dataset
    participants: Mapping[str, Sequence[str]]
    plan: Plan
    method: Method
    strategy: str

    def run(self, on_reply: Callable[[Ask, str], None] = lambda ask, participant: None) -> State:
        """Run to the end, from the last checkpoint if there is one; returns the coordinator's final state."""
        checkpoint = Checkpoint(self.folder / "checkpoints")
        log = RoundLog(self.folder / "rounds.jsonl")
        log.rewind(int(checkpoint.load().get("round", 0)))
        strategy = STRATEGIES[self.strategy]()
        return coordinate(
            lambda state: self.method.coordinate(self.plan, strategy, state, log.append),
            InProcessEngine(self.sites(), on_reply),
            checkpoint,
            self.plan.dim,
        )

    def sites(self) -> list[Site]:
        """The participants as site objects, in order."""
        return [self._site(participant, videos) for participant, videos in self.participants.items()]

    def _site(self, participant: str, videos: Sequence[str]) -> Site:
        home = self.folder / "sites" / participant
        data = site_data(self.dataset, participant, videos, self.plan.supervision)
        program = self.method.site(self.plan, data)
        return Site(participant, program, SiteState(home / "state"), Ledger(home / "ledger.jsonl"))
