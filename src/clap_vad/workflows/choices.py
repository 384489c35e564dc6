"""Whether the choices of a run are possible, before any dataset is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..algorithms.method import DEFAULT_METHOD, METHODS, Method, make_method
from ..errors import ClapError
from ..federation.strategy import STRATEGIES, Strategy, make_strategy
from ..protection.session import LEAST_COHORT
from ..settings import setting_names

__all__ = [
    "MOST_THREADS",
    "NORMALISE",
    "SETTINGS",
    "SUPERVISIONS",
    "check_choices",
    "check_secure",
    "check_share",
    "chosen_method",
    "split_options",
    "threads_for",
]

SETTINGS = ("centralized", "local", "collaborative")
SUPERVISIONS = ("us", "ws", "mixed")
NORMALISE = ("auto", "none", "federated")
MOST_THREADS = 256  # torch dies, not raises, when it is refused the threads it was told to start
_SEEDS = 1 << 63
_TRAINING = "clap"
_WIDE = 4096  # floats per segment from which two threads gain more than they wait for each other


def chosen_method(
    method: str | None,
    strategy: str,
    options: Mapping[str, Any],
    *,
    update_encoding: str = "float32",
    stragglers: float = 0.0,
    test_each_round: bool = False,
) -> str:
    """The method of a run: the one given, else the default, or ``clap`` where another choice is one it does not have.

    >>> [chosen_method(None, strategy, options) for strategy, options in [("fedavg", {}), ("fedavg", {"lr": 0.1})]]
    ['comet', 'clap']
    """
    if method is not None:
        return method
    lacks = set(options) - set(setting_names(METHODS[DEFAULT_METHOD]))
    trains = strategy != "fedavg" or update_encoding != "float32"
    return _TRAINING if lacks or trains or stragglers or test_each_round else DEFAULT_METHOD


def check_choices(
    method: str,
    setting: str,
    supervision: str,
    strategy: str,
    rounds: int | None,
    seed: int,
    threads: int,
    normalise: str,
    options: Mapping[str, Any],
    fraction: float,
    stragglers: float,
    test_each_round: bool,
) -> tuple[Method, Strategy]:
    """What needs no dataset to be checked; raises :class:`ClapError` for a choice that is not possible.

    Returns:
        The method and the strategy with their settings.
    """
    for flag, value, allowed in (
        ("setting", setting, SETTINGS),
        ("supervision", supervision, SUPERVISIONS),
        ("normalise", normalise, NORMALISE),
        ("strategy", strategy, STRATEGIES.names()),
    ):
        if value not in allowed:
            raise ClapError(f"--{flag} is {value!r}; one of {', '.join(allowed)} is needed")
    _check_numbers(rounds, seed, threads, fraction, stragglers)
    of_method, of_strategy = split_options(method, strategy, options)
    made, aggregation = make_method(method, of_method), make_strategy(strategy, of_strategy)
    if setting != "collaborative":  # one participant, whose own update is all there is to aggregate
        aggregation = make_strategy("fedavg", {})
    if aggregation.needs_sgd and not made.trains_by_sgd:
        raise ClapError(
            f"--strategy {strategy} works with sites that train by SGD, which method '{method}' does not; choose "
            "another strategy"
        )
    if not made.aggregates_updates and strategy != "fedavg":
        raise ClapError(
            f"--strategy {strategy} aggregates updates of a model, and method '{method}' adds up sums; leave it out, "
            "or choose a --method that trains, such as clap"
        )
    if stragglers and made.epochs_per_round < 2:
        raise ClapError("--stragglers: a site does fewer epochs only where a round has 2 or more; give --local-epochs")
    if test_each_round and not made.judges_each_round:
        raise ClapError(f"--test-each-round: method '{method}' has no scores before its last round; leave it out")
    return made, aggregation


def check_secure(method: Method, strategy: Strategy, participants: int, fraction: float) -> None:
    """Raise :class:`ClapError` for a run that secure aggregation cannot hide."""
    if strategy.needs_each:
        raise ClapError("--secure-aggregation: this strategy needs updates one by one; choose one of sums, as fedavg")
    if not method.sums_only():
        raise ClapError(
            "--secure-aggregation: with these settings the method needs a message of each participant; for clap choose "
            "--segregation federated or --density pooled"
        )
    drawn = max(1, round(fraction * participants))
    if drawn < LEAST_COHORT:
        raise ClapError(
            f"--secure-aggregation: a sum over {drawn} participants hides none of them; at least {LEAST_COHORT} must "
            "take part in each round"
        )


def _check_numbers(rounds: int | None, seed: int, threads: int, fraction: float, stragglers: float) -> None:
    if (rounds is not None and rounds < 1) or threads < 0 or seed < 0:
        raise ClapError("--rounds must be at least 1, --threads and --seed at least 0")
    if threads > MOST_THREADS or seed >= _SEEDS:
        raise ClapError(f"--threads must be at most {MOST_THREADS}, --seed below {_SEEDS}")
    check_share("fraction", fraction)
    if not 0 <= stragglers <= 1:
        raise ClapError(f"--stragglers is {stragglers}; a number from 0 to 1 is needed")


def check_share(flag: str, share: float) -> None:
    """Raise :class:`ClapError` for a share that is none."""
    if not 0 < share <= 1:
        raise ClapError(f"--{flag} is {share}; a number above 0 and at most 1 is needed")


def threads_for(crops: int, dim: int) -> int:
    """Threads of a step by the width of the features, and never by the machine: they decide bits of the result."""
    return 2 if crops * dim >= _WIDE else 1


def split_options(method: str, strategy: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a run as those of its method and those of its strategy; what neither has stays with the method.

    >>> split_options("clap", "fedprox", {"mu": 1.0, "lr": 0.1})
    ({'lr': 0.1}, {'mu': 1.0})
    """
    own = set(setting_names(STRATEGIES[strategy])) - set(setting_names(METHODS[method]))
    of_method = {name: value for name, value in options.items() if name not in own}
    return of_method, {name: value for name, value in options.items() if name in own}
