"""Aggregation strategies against loops, closed forms and numpy; test_mutations.py shows that the checks can fail."""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
import pytest
import strategy_checks as checks
from strategy_clients import combined, contribution

from clap_vad.algorithms.method import METHODS
from clap_vad.errors import ClapError
from clap_vad.federation.strategy import STRATEGIES, make_strategy

CHECKS = {
    "fedavg": [
        checks.fedavg_of_single_steps_is_a_centralized_step,
        checks.fedavg_ends_where_its_local_steps_balance,
        checks.fedavg_by_loop,
        checks.one_participant_is_followed,
    ],
    "fedprox": [
        checks.fedprox_is_fedavg_without_mu_and_stays_with_endless_mu,
        checks.fedprox_agrees_with_the_textbook_step_to_second_order,
        checks.fedprox_ends_at_the_proximal_minimum,
        checks.fedavg_by_loop,
        checks.one_participant_is_followed,
    ],
    "scaffold": [
        checks.scaffold_reaches_the_joint_optimum,
        checks.scaffold_by_algorithm_1,
        checks.scaffold_keeps_the_common_variate_the_mean,
        checks.scaffold_leaves_an_idle_site_as_it_is,
        checks.one_participant_is_followed,
    ],
    "fedavgm": [
        checks.fedavgm_by_loop,
        checks.fedavgm_gains_speed_under_a_constant_update,
        checks.one_participant_is_followed,
    ],
    "fedadam": [checks.fedadam_by_loop, checks.fedadam_closed_form],
    "fedyogi": [checks.fedyogi_by_loop, checks.fedyogi_closed_form],
    "median": [checks.median_is_numpys, checks.median_bears_attackers, checks.one_participant_is_followed],
    "trimmed-mean": [
        checks.trimmed_mean_is_scipys,
        checks.trimmed_mean_bears_attackers,
        checks.one_participant_is_followed,
    ],
    "multi-krum": [checks.multi_krum_by_brute_force, checks.multi_krum_bears_attackers],
}


@pytest.mark.parametrize(
    ("name", "check"),
    [pytest.param(name, check, id=f"{name}-{check.__name__}") for name, own in CHECKS.items() for check in own],
)
def test_strategy(name, check):
    check(STRATEGIES[name])


@pytest.mark.parametrize("name", STRATEGIES.names())
@pytest.mark.parametrize("check", [checks.nobody_trained_changes_nothing, checks.who_has_no_segment_counts_for_nothing])
def test_every_strategy(name, check):
    check(STRATEGIES[name])


@pytest.mark.parametrize(("n", "share", "needed"), [(1, 0.2, 3), (2, 0.0, 3), (4, 0.25, 5), (10, 0.4, 11)])
def test_multi_krum_says_how_many_participants_it_needs(n, share, needed):
    strategy = make_strategy("multi-krum", {"malicious_share": share})
    idle = [contribution(0, np.ones(4))] * 20
    with pytest.raises(ClapError, match=rf"needs {needed} participants.* not {n}; lower --malicious-share"):
        combined(strategy, checks.START, [[contribution(1, np.ones(4))] * n + idle])


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("fedprox", {"mu": -0.1}, "--mu is -0.1"),
        ("fedprox", {"mu": float("inf")}, "--mu is inf"),
        ("scaffold", {"server_lr": 0.0}, "--server-lr is 0.0"),
        ("fedavgm", {"server_lr": -1.0}, "--server-lr is -1.0"),
        ("fedavgm", {"server_momentum": 1.0}, "--server-momentum is 1.0"),
        ("fedavgm", {"server_momentum": -0.1}, "--server-momentum is -0.1"),
        ("fedadam", {"server_lr": 0.0}, "--server-lr is 0.0"),
        ("fedadam", {"beta1": 1.0}, "--beta1 is 1.0"),
        ("fedadam", {"beta2": -0.5}, "--beta2 is -0.5"),
        ("fedyogi", {"tau": 0.0}, "--tau is 0.0"),
        ("fedyogi", {"tau": float("nan")}, "--tau is nan"),
        ("trimmed-mean", {"malicious_share": 0.5}, "--malicious-share is 0.5"),
        ("multi-krum", {"malicious_share": -0.1}, "--malicious-share is -0.1"),
        ("fedavg", {"mu": 0.1}, "strategy 'fedavg' has no setting 'mu'; it has none"),
        ("fedadam", {"momentum": 0.1}, "no setting 'momentum'; it has beta1, beta2, server_lr, tau"),
        ("fedsgd", {}, "unknown strategy 'fedsgd'; known: fedadam, fedavg"),
    ],
)
def test_settings_outside_their_range_are_refused(name, options, complaint):
    with pytest.raises(ClapError, match=complaint):
        make_strategy(name, options)


def test_a_setting_means_one_thing_on_the_command_line():
    helps = defaultdict(set)
    for name in STRATEGIES:
        for setting in dataclasses.fields(STRATEGIES[name]):
            helps[setting.name].add(setting.metadata["help"])
    assert {name: texts for name, texts in helps.items() if len(texts) > 1} == {}
    of_methods = {setting.name for name in METHODS for setting in dataclasses.fields(METHODS[name])}
    assert len(of_methods) > 5
    assert of_methods & helps.keys() == set()
