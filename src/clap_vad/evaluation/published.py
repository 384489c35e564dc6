"""Published results, in percent, with their sources: for comparison with our results, never mixed with them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PUBLISHED", "PublishedResult", "published_metric", "published_results", "published_value"]

CLAP_PAPER = "Al-lahham et al., Collaborative Learning of Anomalies with Privacy (CLAP), CVPR 2024"
SETTINGS = ("centralized", "local", "collaborative")
COLUMNS = (("ucf-crime", "us"), ("ucf-crime", "ws"), ("xd-violence", "us"), ("xd-violence", "ws"))


@dataclass(frozen=True)
class PublishedResult:
    """One number of a paper.

    Attributes:
        dataset, method, setting, supervision: in our names.
        percent: as printed.
        source: the paper.
        strategy: aggregation strategy, if the number is for a particular one, else "".
        protocol: partition protocol, if the number is for a particular one, else "".
    """

    dataset: str
    method: str
    setting: str
    supervision: str
    percent: float
    source: str = CLAP_PAPER
    strategy: str = ""
    protocol: str = ""


_MAIN_PROTOCOLS = (None, "random", "random-5", "official-random-5")

# One line per method and setting; columns as in COLUMNS.
_MAIN_TABLE = """
centralized    gcl    71.04  79.84  73.62  82.18
centralized    c2fpl  80.65  83.40  80.09  89.34
centralized    clap   80.9   85.50  81.71  90.04
local          gcl    56.63  65.32  58.11  59.91
local          c2fpl  61.33  65.85  60.05  63.4
local          clap   63.93  67.47  62.37  64.97
collaborative  gcl    67.12  76.82  68.19  75.21
collaborative  c2fpl  75.20  77.60  74.36  76.98
collaborative  clap   78.02  83.23  77.65  85.67
"""


def _main_table() -> list[PublishedResult]:
    results = []
    for line in _MAIN_TABLE.split("\n"):
        if line:
            setting, method, *values = line.split()
            for (dataset, supervision), value in zip(COLUMNS, values, strict=True):
                results.append(PublishedResult(dataset, method, setting, supervision, float(value)))
    return results


PUBLISHED: tuple[PublishedResult, ...] = (
    *_main_table(),
    PublishedResult("ucf-crime", "clap", "collaborative", "us", 73.99, strategy="fedavg", protocol="scene"),
    PublishedResult("ucf-crime", "clap", "collaborative", "us", 73.4, strategy="fedprox", protocol="scene"),
    PublishedResult("ucf-crime", "clap", "collaborative", "us", 73.7, strategy="scaffold", protocol="scene"),
)


def published_metric(dataset: str) -> str | None:
    """The metric of a dataset's published numbers; None if there are none.

    Frame AUC for both: the paper gives AUC for UCF-Crime, and according to the released code its XD-Violence column is
    AUC too, although average precision is the usual metric there.
    """
    return "frame_auc" if any(entry.dataset == dataset for entry in PUBLISHED) else None


def published_results(dataset: str) -> list[PublishedResult]:
    """All published numbers of a dataset, in the papers' order."""
    return [entry for entry in PUBLISHED if entry.dataset == dataset]


def published_value(
    dataset: str, method: str, setting: str, supervision: str, *, strategy: str = "fedavg", protocol: str | None = None
) -> PublishedResult | None:
    """The published number to compare with a result; None if there is none.

    A collaborative run with the scene protocol is compared with the numbers of that protocol, by strategy. The main
    table's collaborative numbers are for FedAvg with, as we understand it, equal shares among five participants; they
    are compared with such runs only.

    >>> published_value("ucf-crime", "clap", "collaborative", "us").percent
    78.02
    >>> scene = "official-scene-11"
    >>> published_value("ucf-crime", "clap", "collaborative", "us", strategy="fedprox", protocol=scene).percent
    73.4
    """
    collaborative = setting == "collaborative"
    wanted_protocol = "scene" if collaborative and protocol and "scene" in protocol.split("-") else ""
    if collaborative and not wanted_protocol and (strategy != "fedavg" or protocol not in _MAIN_PROTOCOLS):
        return None
    wanted_strategy = strategy if wanted_protocol else ""
    for entry in PUBLISHED:
        if (
            (entry.dataset, entry.method, entry.setting) == (dataset, method, setting)
            and entry.supervision == supervision
            and (entry.protocol, entry.strategy) == (wanted_protocol, wanted_strategy)
        ):
            return entry
    return None
