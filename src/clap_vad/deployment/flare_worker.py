"""The only class that a FLARE job may name at a site."""

from __future__ import annotations

import logging
from pathlib import Path

from ..engines.flare.worker import FlareWorker
from ..errors import ClapError
from ..federation.ask import Ask
from ..federation.messages import Message
from ..federation.policy import RefusalError
from ..protection.signing import CertificateSigner
from ..trust.site_home import SiteHome
from .log import note
from .site_executor import SiteExecutor

__all__ = ["Worker"]


class Worker(FlareWorker):
    """Answers questions at a site, from the site's own dataset and under its own policy."""

    def __init__(self) -> None:
        super().__init__()
        self._home: SiteHome | None = None
        self._executor: SiteExecutor | None = None

    def begin(self, kit: str) -> None:
        """Open the site's folder, which contains the kit."""
        self._home = SiteHome.open(Path(kit).parent)
        home = self._home
        self._executor = SiteExecutor(home.name, home.dataset, home.path, home.path / "policy.json", self._signer)

    def _signer(self) -> CertificateSigner:
        """Signs with the key of this site's certificate, and trusts only the federation's authority."""
        assert self._home is not None  # begin comes first
        home = self._home
        key, certificate, authority = (file.read_bytes() for file in (home.key, home.certificate, home.authority))
        return CertificateSigner(home.name, key, certificate, authority)

    def answer(self, run: str, ask: Ask) -> Message:
        """Answer one question."""
        assert self._executor is not None  # begin comes first
        return self._executor.handle(run, ask)

    def failed(self, run: str, ask: Ask | None, error: Exception) -> None:
        """Record a question that was not answered in the site's log."""
        assert self._home is not None
        kind = "question refused" if isinstance(error, RefusalError) else "question failed"
        question = {"step": ask.step, "schema": ask.reply} if ask is not None else {}
        note(self._home.path, kind, run=run, **question, why=str(error) or type(error).__name__)
        if not isinstance(error, ClapError):
            logging.getLogger(__name__).exception("a question was not answered")
