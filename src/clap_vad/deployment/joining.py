"""The steps by which a site joins a federation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..federation.policy import Policy
from ..trust.identity import fingerprint, read_certificate
from ..trust.site_home import SiteHome

__all__ = ["join_site", "request_site"]

_COHORT = 3  # sums over fewer sites reveal much about each of them
_ROUNDS = 1000
_RUNS_A_YEAR = 24  # of COMET: many repeated questions would average out its noise


def request_site(home: Path, name: str, organisation: str, out: Path | None = None) -> tuple[Path, str]:
    """Make the site's key and the file to send to the coordinator.

    Args:
        home: the site's folder.
        name: of the site.
        organisation: that owns the site; empty for the one stated before, or else the site's name.
        out: the file; ``NAME.request.json`` by default.

    Returns:
        The file, and the fingerprint of the key. Raises :class:`ClapError` as :meth:`SiteHome.request`.
    """
    site = SiteHome.request(home, name, organisation or SiteHome(home).organisation or name, out)
    return out or Path(f"{name}.request.json"), site.fingerprint


def join_site(home: Path, bundle: Path, dataset: Path) -> dict[str, Any]:
    """Import the coordinator's bundle; if the site has no policy yet, write one that allows every message.

    Returns:
        A JSON-able description of the federation. Raises :class:`ClapError` as :meth:`SiteHome.join`.
    """
    days = SiteHome(home).join(bundle, dataset)
    site = SiteHome.open(home)
    policy = home / "policy.json"
    if not policy.exists():
        bounds = {"row_sizes": {"year": _RUNS_A_YEAR}}  # every run begins with these
        Policy(minimum_cohort=_COHORT, maximum_rounds=_ROUNDS, maximum_questions=bounds).write(policy)
    return {
        "site": site.name,
        "federation": site.federation,
        "host": site.host,
        "port": site.port,
        "dataset": str(site.dataset),
        "policy": str(policy),
        "certificate_days_left": round(days, 1),
        "authority_fingerprint": fingerprint(read_certificate(site.authority)),
    }
