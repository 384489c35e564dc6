"""The checks of the strategies fail when a rule is wrong: each case changes one text of the real source.

A changed copy is executed beside the real package and never registered; the strategy is made of it and, where the
change is in another room, of its own real source with the changed names in place of the imported ones.
"""

from __future__ import annotations

import importlib
import re
import types
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import strategy_checks as checks

from clap_vad.federation.strategy import STRATEGIES, Strategy

STRATEGY_FILES = "clap_vad.federation.strategies."
AGGREGATION, DRIFT = "clap_vad.core.aggregation.average", "clap_vad.detector.drift"
ROBUST, OPTIMISER = "clap_vad.core.aggregation.robust", "clap_vad.core.aggregation.server_optimiser"


@dataclass(frozen=True)
class Mutation:
    """One wrong rule: in ``module``, ``old`` (which stands there once) becomes ``new``; ``check`` must notice.

    Lines and blanks of ``old`` do not matter: it is found however the source is laid out.
    """

    id: str
    strategy: str
    check: types.FunctionType
    module: str
    old: str
    new: str


def copy_of(name: str, old: str = "", new: str = "") -> types.ModuleType:
    """A fresh copy of a module of the package, one text of it replaced, that registers nothing."""
    original = importlib.import_module(name)
    source = Path(original.__file__).read_text(encoding="utf-8")
    if old:
        found = list(re.finditer(r"\s*".join(map(re.escape, re.findall(r"\w+|[^\w\s]", old))), source))
        assert len(found) == 1, f"{name}: {old!r} stands there {len(found)} times, not once; adapt the mutation"
        source = source[: found[0].start()] + new + source[found[0].end() :]
    source, registrations = re.subn(r"(?m)^@STRATEGIES\.register\(.*\)\n", "", source)
    assert registrations == name.startswith(STRATEGY_FILES)
    module = types.ModuleType(name)
    module.__package__ = original.__package__
    exec(compile(source, f"<changed {original.__file__}>", "exec"), vars(module))
    return module


def strategy_of(name: str, changed: types.ModuleType) -> type[Strategy]:
    """The strategy of this name, made with what a changed module holds."""
    real = STRATEGIES[name]
    module = changed if changed.__name__ == real.__module__ else copy_of(real.__module__)
    vars(module).update({key: vars(changed)[key] for key in changed.__all__ if key in vars(module)})
    return getattr(module, real.__name__)


def mutations(strategy: str, module: str, *cases: tuple[str, types.FunctionType, str, str]) -> list[Mutation]:
    return [Mutation(f"{strategy}: {id}", strategy, check, module, old, new) for id, check, old, new in cases]


MUTATIONS = [
    *mutations(
        "fedavg",
        AGGREGATION,
        ("weighted_mean without weights", checks.fedavg_by_loop, ".astype(np.float64) * weight", ".astype(np.float64)"),
        ("weighted_mean without division", checks.fedavg_by_loop, "(summed / total)", "summed"),
        ("weighted_mean over participants", checks.fedavg_by_loop, "(summed / total)", "(summed / len(updates))"),
        (
            "weighted_mean by square roots of counts",
            checks.fedavg_of_single_steps_is_a_centralized_step,
            "sum(weights))",
            "sum(weights := [n**0.5 for n in weights]))",
        ),
        (
            "weighted_mean overwrites its sum",
            checks.fedavg_of_single_steps_is_a_centralized_step,
            "summed += update",
            "summed = update",
        ),
        ("moved backwards", checks.fedavg_ends_where_its_local_steps_balance, "(value + step", "(value - step"),
        ("moved from zero", checks.one_participant_is_followed, "(value + step *", "(step *"),
    ),
    *mutations(
        "fedavgm",
        AGGREGATION,
        ("moved without step", checks.fedavgm_by_loop, "value + step * direction", "value + direction"),
    ),
    *mutations(
        "fedavg",
        STRATEGY_FILES + "fedavg",
        ("participants alike", checks.fedavg_by_loop, "[contribution.count for", "[bool(contribution.count) for"),
    ),
    *mutations(
        "fedprox",
        DRIFT,
        (
            "pull without learning rate",
            checks.fedprox_agrees_with_the_textbook_step_to_second_order,
            "lr * self.proximal)",
            "self.proximal)",
        ),
        (
            "pull explicit",
            checks.fedprox_is_fedavg_without_mu_and_stays_with_endless_mu,
            "1.0 - 1.0 / (1.0 + lr * self.proximal)",
            "lr * self.proximal",
        ),
        (
            "pull is what it leaves",
            checks.fedprox_is_fedavg_without_mu_and_stays_with_endless_mu,
            "1.0 - 1.0 / (1.0 +",
            "1.0 / (1.0 +",
        ),
        (
            "pull the other way",
            checks.fedprox_ends_at_the_proximal_minimum,
            "1.0 - 1.0 / (1.0 +",
            "1.0 / (1.0 + lr * self.proximal) - 1.0  # (",
        ),
    ),
    *mutations(
        "fedprox",
        STRATEGY_FILES + "fedprox",
        (
            "mu twice",
            checks.fedprox_agrees_with_the_textbook_step_to_second_order,
            "Correction(proximal=self.mu)",
            "Correction(proximal=2 * self.mu)",
        ),
        (
            "mu forgotten",
            checks.fedprox_ends_at_the_proximal_minimum,
            "Correction(proximal=self.mu)",
            "Correction()",
        ),
    ),
    *mutations(
        "scaffold",
        STRATEGY_FILES + "scaffold",
        (
            "correction turned round",
            checks.scaffold_reaches_the_joint_optimum,
            "c - state.get(key, np.float32(0))",
            "state.get(key, np.float32(0)) - c",
        ),
        (
            "correction without c",
            checks.scaffold_reaches_the_joint_optimum,
            "c - state.get(key, np.float32(0))",
            "0 * c - state.get(key, np.float32(0))",
        ),
        (
            "correction without c_p",
            checks.scaffold_by_algorithm_1,
            "c - state.get(key, np.float32(0))",
            "c",
        ),
        ("report adds c", checks.scaffold_by_algorithm_1, "old - np.asarray(", "old + np.asarray("),
        ("report with the gradient's sign flipped", checks.scaffold_by_algorithm_1, "- value / np", "+ value / np"),
        ("report without division", checks.scaffold_by_algorithm_1, "value / np.float32(travel)", "value"),
        (
            "report sends c_p for its change",
            checks.scaffold_keeps_the_common_variate_the_mean,
            "changes[key] = new - old",
            "changes[key] = new",
        ),
        (
            "report forgets c_p",
            checks.scaffold_keeps_the_common_variate_the_mean,
            "state[key] = new",
            "state[key] = old",
        ),
        (
            "report of an idle site takes c off",
            checks.scaffold_leaves_an_idle_site_as_it_is,
            "value / np.float32(travel) if travel else old",
            "value / np.float32(travel or 1.0)",
        ),
        ("aggregate as if all took part", checks.scaffold_by_algorithm_1, "sum(counts) / total", "1.0"),
        (
            "aggregate replaces c",
            checks.scaffold_keeps_the_common_variate_the_mean,
            "state[_COMMON + name] + np.float32(share)",
            "np.float32(share)",
        ),
        (
            "aggregate of changes without weights",
            checks.scaffold_keeps_the_common_variate_the_mean,
            "weighted_mean(changes, counts)",
            "weighted_mean(changes, [1] * len(counts))",
        ),
        ("aggregate without server_lr", checks.scaffold_by_algorithm_1, "mean, self.server_lr)", "mean)"),
    ),
    *mutations(
        "fedavgm",
        OPTIMISER,
        ("velocity damped", checks.fedavgm_by_loop, "(previous) + update)", "(previous) + (1 - momentum) * update)"),
        ("velocity against the update", checks.fedavgm_by_loop, "(previous) + update)", "(previous) - update)"),
    ),
    *mutations(
        "fedavgm",
        STRATEGY_FILES + "fedavgm",
        (
            "velocity forgotten",
            checks.fedavgm_gains_speed_under_a_constant_update,
            "velocities[name] = state[_VELOCITY + name] =",
            "velocities[name] =",
        ),
        (
            "server_lr forgotten",
            checks.fedavgm_gains_speed_under_a_constant_update,
            "velocities, self.server_lr)",
            "velocities)",
        ),
    ),
    *mutations(
        "fedadam",
        OPTIMISER,
        ("m sums up", checks.fedadam_by_loop, "(1 - beta1) * _wide(update)", "update"),
        ("v of updates not squared", checks.fedadam_by_loop, "* np.square(_wide(update))).", "* np.abs(update))."),
        ("v sums up", checks.fedadam_closed_form, "(beta2 * _wide(previous) +", "(_wide(previous) +"),
        ("divided by v, not its root", checks.fedadam_by_loop, "np.sqrt(_wide(v))", "_wide(v)"),
        ("tau under the root", checks.fedadam_by_loop, "np.sqrt(_wide(v)) + tau", "np.sqrt(_wide(v) + tau**2)"),
    ),
    *mutations(
        "fedadam",
        STRATEGY_FILES + "fedadam",
        ("v from zero", checks.fedadam_by_loop, "self.tau**2", "0.0"),
        ("betas exchanged", checks.fedadam_closed_form, "update, self.beta1)", "update, self.beta2)"),
        ("v forgotten", checks.fedadam_closed_form, "= m, v\n", "= m, 0 * v\n"),
        (
            "bias correction",
            checks.fedadam_closed_form,
            "adaptive_direction(m, v, self.tau)",
            "adaptive_direction(m / np.float32(1 - self.beta1), v, self.tau)",
        ),
    ),
    *mutations(
        "fedyogi",
        OPTIMISER,
        ("v away from the square", checks.fedyogi_by_loop, "(v - (1 - beta2) * squared", "(v + (1 - beta2) * squared"),
        ("v only sinks", checks.fedyogi_closed_form, " * np.sign(v - squared)", ""),
        ("v compared with the update", checks.fedyogi_by_loop, "np.sign(v - squared)", "np.sign(v - abs(update))"),
    ),
    *mutations(
        "fedyogi",
        STRATEGY_FILES + "fedyogi",
        (
            "v of Adam",
            checks.fedyogi_closed_form,
            "return yogi_second_moment(previous, update, self.beta2)",
            "return super().second_moment(previous, update)",
        ),
    ),
    *mutations(
        "median",
        ROBUST,
        ("mean", checks.median_bears_attackers, "np.median(values, axis=0)", "np.mean(values, axis=0)"),
        ("largest", checks.median_is_numpys, "np.median(values, axis=0)", "np.max(values, axis=0)"),
        (
            "upper median",
            checks.median_is_numpys,
            "np.median(values, axis=0)",
            "np.sort(values, axis=0)[len(values) // 2]",
        ),
        ("first block throughout", checks.median_is_numpys, "[start : start + _BLOCK] for", "[:_BLOCK] for"),
    ),
    *mutations(
        "median",
        STRATEGY_FILES + "median",
        (
            "with participants that did not train",
            checks.who_has_no_segment_counts_for_nothing,
            " if contribution.count > 0]",
            "]",
        ),
    ),
    *mutations(
        "trimmed-mean",
        ROBUST,
        ("smallest only", checks.trimmed_mean_bears_attackers, "[malicious : n - malicious]", "[malicious:]"),
        ("largest only", checks.trimmed_mean_bears_attackers, "[malicious : n - malicious]", "[: n - malicious]"),
        ("unsorted", checks.trimmed_mean_is_scipys, "np.sort(values, axis=0)[", "values["),
        ("sorted along coordinates", checks.trimmed_mean_is_scipys, "np.sort(values, axis=0)[", "np.sort(values)["),
        ("one less trimmed", checks.trimmed_mean_bears_attackers, "share * n + 1e-9", "share * n - 1e-9"),
        ("floating point of the share", checks.trimmed_mean_is_scipys, "share * n + 1e-9", "share * n"),
    ),
    *mutations(
        "trimmed-mean",
        STRATEGY_FILES + "trimmed_mean",
        (
            "share forgotten",
            checks.trimmed_mean_bears_attackers,
            "malicious_count(self.malicious_share, len(updates))",
            "0",
        ),
    ),
    *mutations(
        "multi-krum",
        ROBUST,
        (
            "distances not squared",
            checks.multi_krum_by_brute_force,
            "np.square(values[i + 1 :]",
            "np.abs(values[i + 1 :]",
        ),
        ("distances in the last array", checks.multi_krum_by_brute_force, "[i, i + 1 :] += np", "[i, i + 1 :] = np"),
        ("own distance counted", checks.multi_krum_by_brute_force, "np.fill_diagonal(distances, np.inf)", "pass"),
        ("distances to later ones only", checks.multi_krum_by_brute_force, "distances += distances.T", "pass"),
        ("all distances counted", checks.multi_krum_by_brute_force, "axis=1)[:, :nearest]", "axis=1)[:, : n - 1]"),
        (
            "few distances counted",
            checks.multi_krum_bears_attackers,
            "axis=1)[:, :nearest]",
            "axis=1)[:, : malicious - 1]",
        ),
        ("worst scores", checks.multi_krum_bears_attackers, "np.argsort(scores,", "np.argsort(-scores,"),
        ("plain Krum", checks.multi_krum_by_brute_force, "[:nearest].tolist()", "[:1].tolist()"),
        ("m = n - f", checks.multi_krum_by_brute_force, "[:nearest].tolist()", "[: n - malicious].tolist()"),
    ),
    *mutations(
        "multi-krum",
        STRATEGY_FILES + "multi_krum",
        (
            "mean of all",
            checks.multi_krum_bears_attackers,
            "[updates[i] for i in krum_selection(updates, f)]",
            "list(updates)",
        ),
        (
            "share forgotten",
            checks.multi_krum_bears_attackers,
            "krum_selection(updates, f)",
            "krum_selection(updates, 0)",
        ),
    ),
]

SOUND = sorted({(m.strategy, m.module, m.check.__name__) for m in MUTATIONS})


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: f"{m.id} [{m.check.__name__}]")
def test_a_wrong_rule_is_noticed(mutation):
    strategy = strategy_of(mutation.strategy, copy_of(mutation.module, mutation.old, mutation.new))
    with np.errstate(all="ignore"), pytest.raises(AssertionError):
        mutation.check(strategy)


@pytest.mark.parametrize(
    ("strategy", "module", "check"), [pytest.param(*case, id=f"{case[0]}: {case[1]} [{case[2]}]") for case in SOUND]
)
def test_an_unchanged_copy_passes(strategy, module, check):
    getattr(checks, check)(strategy_of(strategy, copy_of(module)))


def test_every_strategy_has_two_mutations_at_least():
    counts = {name: sum(m.strategy == name for m in MUTATIONS) for name in STRATEGIES}
    assert {name: count for name, count in counts.items() if count < 2} == {}
