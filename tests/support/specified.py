"""Specifications of runs over sites, as tests ask for them and as an odd coordinator would send them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clap_vad.deployment.planning import deployed_specification
from clap_vad.deployment.resolved_run import ResolvedRun
from clap_vad.specification.reading import options_from
from clap_vad.specification.run import RunSpecification

__all__ = ["changed", "deployed_run", "encoded"]


def deployed_run(sites: Sequence[str], *, dataset: Path | None = None, **options: Any) -> RunSpecification:
    """The specification of a run over these sites."""
    return deployed_specification(options_from({"sites": list(sites), "dataset": str(dataset or ""), **options}))


def changed(resolved: ResolvedRun, **changes: Any) -> ResolvedRun:
    """The same run with other options, participants, labelled ones or features."""
    own = {name: changes.pop(name) for name in ("participants", "labelled", "features") if name in changes}
    return dataclasses.replace(resolved, spec=dataclasses.replace(resolved.spec, **changes), **own)


def encoded(resolved: ResolvedRun, **entries: Any) -> np.ndarray:
    """The run as a coordinator sends it, with these entries, valid or not, put in."""
    content = json.loads(resolved.to_array().tobytes())
    return np.frombuffer(json.dumps({**content, **entries}).encode(), np.uint8)
