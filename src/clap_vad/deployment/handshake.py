"""The handshake of a run over real sites: sites describe their features and receive the resolved specification."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from ..errors import ClapError
from ..federation.ask import Ask, Reply, State
from ..federation.messages import ACKNOWLEDGEMENT, DESCRIPTION_BYTES
from .resolved_run import ResolvedRun

__all__ = ["description_from_array", "description_to_array", "handshake"]


def description_to_array(description: dict[str, Any]) -> np.ndarray:
    """As JSON in (``DESCRIPTION_BYTES``,) uint8, padded with zeros; raises :class:`ClapError` if it is too long."""
    text = json.dumps(description, sort_keys=True).encode()
    if len(text) > DESCRIPTION_BYTES:
        raise ClapError(f"the store's description has {len(text)} bytes in JSON; at most {DESCRIPTION_BYTES} are sent")
    return np.frombuffer(text.ljust(DESCRIPTION_BYTES, b"\0"), np.uint8)


def description_from_array(array: np.ndarray) -> dict[str, Any]:
    """The description in such an array; raises :class:`ClapError` for an invalid one."""
    try:
        content = json.loads(np.asarray(array, np.uint8).tobytes().rstrip(b"\0"))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.keys() != _ENTRIES.keys():
        raise ClapError("not a description of features")
    if any(type(content[name]) not in kinds for name, kinds in _ENTRIES.items()):
        raise ClapError("a description of features with entries of wrong types")
    if min(content["dim"], content["crops"], content["segment_frames"]) < 1:
        raise ClapError("a description of features with sizes below 1")
    return content


_ENTRIES: dict[str, tuple[type, ...]] = {
    "extractor": (str,),
    "settings": (dict,),
    "weights_sha256": (str, type(None)),
    "segment_frames": (int,),
    "crops": (int,),
    "dim": (int,),
    "normalise": (str,),
}


def handshake(
    state: State, resolve: Callable[[dict[str, Any]], ResolvedRun]
) -> Generator[Ask, list[Reply], ResolvedRun]:
    """Ask all sites for a description of their features, and send them the resolved run specification.

    Args:
        state: the coordinator's; receives the resolved run specification, and D as ``dim``.
        resolve: makes the resolved run specification from a description of features.

    Returns:
        The resolved run specification. Raises :class:`ClapError` if sites have different features.
    """
    if "agreement" not in state:
        replies = yield Ask("describe", reply="features_description", lasting=False)
        arrays = {reply.participant: np.asarray(reply.message["description"]) for reply in replies}
        found = {participant: description_from_array(array) for participant, array in arrays.items()}
        first, features = next(iter(found.items()))
        for participant, other in found.items():
            if odd := [name for name in features if other[name] != features[name]]:
                raise ClapError(
                    f"participants '{first}' and '{participant}' have different features ({', '.join(odd)}: "
                    f"{[features[name] for name in odd]}, {[other[name] for name in odd]}); extract both alike"
                )
        resolved = resolve(features)
        state["agreement"], state["dim"] = resolved.to_array(), np.array(features["dim"])
    if "introduced" not in state:
        yield Ask("begin", reply=ACKNOWLEDGEMENT, payload={"agreement": state["agreement"]})
        state["introduced"] = np.array(True)
    return ResolvedRun.from_array(state["agreement"])
