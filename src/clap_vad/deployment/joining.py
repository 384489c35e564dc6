"""How a site comes into a federation, step by step, as its operator takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..federation.policy import Policy
from ..trust.identity import fingerprint, read_certificate
from ..trust.site_home import SiteHome

__all__ = ["join_site", "request_site"]

_COHORT = 3  # sums over fewer sites say much about each of them
_ROUNDS = 1000
_RUNS_A_YEAR = 24  # of COMET, whose noise is averaged out by whoever may ask again and again


def request_site(home: Path, name: str, organisation: str, out: Path | None = None) -> tuple[Path, str]:
    """Make the site's key and the file to send to the coordinator.

    Args:
        home: the site's folder.
        name: of the site.
        organisation: whose it is; empty for the one it stated before, or else its name.
        out: the file; ``NAME.request.json`` by default.

    Returns:
        The file, and the fingerprint of the key. Raises :class:`ClapError` as :meth:`SiteHome.request`.
    """
    site = SiteHome.request(home, name, organisation or SiteHome(home).organisation or name, out)
    return out or Path(f"{name}.request.json"), site.fingerprint


def join_site(home: Path, bundle: Path, dataset: Path) -> dict[str, Any]:
    """Take in the coordinator's bundle; writes the site's policy where there is none yet, with every message allowed.

    Returns:
        A JSON-able dict of what was joined. Raises :class:`ClapError` as :meth:`SiteHome.join`.
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
