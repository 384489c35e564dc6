"""The interface of a method's site side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ..detector.personalised import PersonalisedModels
from ..detector.source import video_slices
from ..federation.conversation import Turn
from ..federation.messages import Message
from ..federation.program import Handler
from .plan import Plan, SiteData

__all__ = ["MethodSite"]


class MethodSite(ABC):
    """Answers the questions of its method's coordinator, and scores the site's videos.

    Args:
        plan: the run.
        data: the participant's data.

    Attributes:
        steps: supported steps: step name -> (handler, schema of its reply).
        order: order and number of the coordinator's questions; any other question is refused.
        dim: the size D in its messages.
        slices: slice of each video's segments among all segments, in order.
    """

    completed_by: ClassVar[str | None] = None
    """State entry that is set when the site's personalised models are complete; None if it has none."""

    def __init__(self, plan: Plan, data: SiteData) -> None:
        self.plan, self.data, self.dim = plan, data, plan.dim
        self.steps: dict[str, tuple[Handler, str]] = {}
        self.order: tuple[Turn, ...] = ()
        self.slices = video_slices(data.entries)

    @abstractmethod
    def personalised(
        self, question: Message, state: Mapping[str, np.ndarray], info: dict[str, Any]
    ) -> PersonalisedModels:
        """The models with which the site scores videos.

        Args:
            question: :meth:`~clap_vad.algorithms.method.Method.final_question`.
            state: the site's state.
            info: description of the models.
        """

    @abstractmethod
    def pseudo_labels(self, question: Message, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """The site's pseudo-labels, float32 per segment; arguments as above. They never leave the site."""
