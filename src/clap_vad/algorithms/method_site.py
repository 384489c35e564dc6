"""The site's side of a method, as the rest of the project sees it."""

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
    """Answers the questions of its method's coordinator, and judges videos at home.

    Args:
        plan: the run.
        data: what the participant holds.

    Attributes:
        steps: what it is willing to do: step name -> (handler, schema of its reply).
        order: in which order and how often its coordinator asks for them; it answers nothing that is not in it.
        dim: the size that its messages call D.
        slices: each video's segments among all, in order.
    """

    completed_by: ClassVar[str | None] = None
    """The entry of its state with which the site's own models are complete and worth keeping; None for none."""

    def __init__(self, plan: Plan, data: SiteData) -> None:
        self.plan, self.data, self.dim = plan, data, plan.dim
        self.steps: dict[str, tuple[Handler, str]] = {}
        self.order: tuple[Turn, ...] = ()
        self.slices = video_slices(data.entries)

    @abstractmethod
    def personalised(
        self, question: Message, state: Mapping[str, np.ndarray], info: dict[str, Any]
    ) -> PersonalisedModels:
        """The models by which the site judges videos.

        Args:
            question: :meth:`~clap_vad.algorithms.method.Method.final_question`.
            state: the site's own.
            info: description of the models.
        """

    @abstractmethod
    def pseudo_labels(self, question: Message, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """What the site takes its segments for, float32 per segment; arguments as above. Never leaves it."""
