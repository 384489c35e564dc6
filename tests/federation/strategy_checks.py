"""What the strategies must do, as functions that take the strategy: test_mutations.py hands them broken ones.

Oracles are loops over single numbers, closed forms, and numpy's and scipy's own functions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import scipy.stats
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from strategy_clients import Quadratic, combined, contribution, fresh, join, split, train

from clap_vad.federation.strategies.fedavg import FedAvg
from clap_vad.federation.strategy import Contribution, Strategy

Make = Callable[..., Strategy]

DIM = 4
START = np.array([0.5, -1.0, 0.25, 2.0])


def quadratics(counts: Sequence[int], steps: Sequence[int], momentum: float = 0.0) -> list[Quadratic]:
    """Participants of different curvature and optimum, lr small enough for all of them."""
    rng = np.random.default_rng(0)
    clients = []
    for count, number in zip(counts, steps, strict=True):
        root = rng.normal(size=(DIM, DIM))
        curvature = root @ root.T / DIM + 0.3 * np.eye(DIM)
        clients.append(Quadratic(curvature, 2 * rng.normal(size=DIM), count, number, 0.05, momentum))
    return clients


def joint_optimum(clients: Sequence[Quadratic]) -> np.ndarray:
    """Where the loss over all segments is smallest."""
    curvature = sum(c.count * c.curvature for c in clients)
    return np.linalg.solve(curvature, sum(c.count * c.curvature @ c.optimum for c in clients))


# --- averaging, with and without an optimiser at the coordinator ---


def fedavg_of_single_steps_is_a_centralized_step(make: Make) -> None:
    """Logistic regression: one full-batch step per participant, against one on all segments together."""
    rng = np.random.default_rng(1)
    x, y, lr = rng.normal(size=(60, DIM)), rng.integers(0, 2, 60), 0.5

    def step(rows: slice | np.ndarray, w: np.ndarray) -> np.ndarray:
        return -lr * x[rows].T @ (1 / (1 + np.exp(-x[rows] @ w)) - y[rows]) / len(y[rows])

    for sizes in ([20, 20, 20], [5, 15, 40]):
        parts = np.split(np.arange(60), np.cumsum(sizes)[:-1])
        contributions = [contribution(len(rows), step(rows, START)) for rows in parts]
        (model,) = combined(make(), START, [contributions])
        np.testing.assert_allclose(model, START + step(slice(None), START), rtol=0, atol=3e-7)


def fedavg_ends_where_its_local_steps_balance(make: Make) -> None:
    """Closed form: K steps take w to ``M (w - b) + b``, ``M = (1 - lr A)^K``, so FedAvg stops where these cancel."""
    clients = quadratics([3, 1], [20, 50])
    gaps = [
        c.count * (np.eye(DIM) - np.linalg.matrix_power(np.eye(DIM) - c.lr * c.curvature, c.steps)) for c in clients
    ]
    expected = np.linalg.solve(sum(gaps), sum(gap @ c.optimum for gap, c in zip(gaps, clients, strict=True)))
    np.testing.assert_allclose(train(make(), clients, START, 60)[-1], expected, atol=1e-5)


def random_rounds(seed: int, participants: int = 4) -> list[list[Contribution]]:
    """Rounds of updates of very different size, one round without a segment among them."""
    rng = np.random.default_rng(seed)
    rounds = []
    for size in (1e-3, 3e-2, 0.0, 1e-3, 2e-1, 3e-4, 1e-2):
        counts = rng.integers(1, 9, participants) if size else np.zeros(participants, int)
        updates = rng.normal(size=(participants, DIM)) * (size or 1.0)
        rounds.append([contribution(int(n), u, 0 * u) for n, u in zip(counts, updates, strict=True)])
    return rounds


Server = Callable[[float, dict[str, float]], float]


def by_loop(strategy: Strategy, server: Server) -> None:
    """The mean of the updates, number by number, handed to ``server``: the step of one weight, given its memory."""
    for seed, participants in ((0, 4), (1, 1), (2, 7)):
        rounds = random_rounds(seed, participants)
        w, memory = [float(value) for value in START], [{} for _ in START]
        for contributions, model in zip(rounds, combined(strategy, START, rounds), strict=True):
            segments = 0
            for c in contributions:
                segments += c.count
            for k in range(DIM):
                total = 0.0
                for c in contributions:
                    total += c.count * float(join(c.update)[k])
                if segments:
                    w[k] += server(total / segments, memory[k])
                assert abs(w[k] - model[k]) < 2e-6, (k, w[k], model[k])


def fedavg_by_loop(make: Make) -> None:
    by_loop(make(), lambda d, memory: d)


def fedavgm_by_loop(make: Make) -> None:
    def server(d: float, memory: dict[str, float]) -> float:
        memory["v"] = 0.8 * memory.get("v", 0.0) + d
        return 0.3 * memory["v"]

    by_loop(make(server_lr=0.3, server_momentum=0.8), server)


def fedavgm_gains_speed_under_a_constant_update(make: Make) -> None:
    """Closed form of the velocity: ``d (1 - beta^t) / (1 - beta)``; without momentum it is FedAvg."""
    d = np.array([1e-2, -2e-2, 3e-2, 0.0])
    models = combined(make(server_lr=0.5, server_momentum=0.9), START, [[contribution(3, d)]] * 8)
    moves = np.diff([START, *models], axis=0)
    for t, move in enumerate(moves, start=1):
        np.testing.assert_allclose(move, 0.5 * d * (1 - 0.9**t) / (1 - 0.9), atol=5e-7)
    rounds = random_rounds(3)
    np.testing.assert_array_equal(combined(make(server_momentum=0.0), START, rounds), combined(FedAvg(), START, rounds))


def adaptive_by_loop(make: Make, second: Callable[[float, float], float]) -> None:
    def server(d: float, memory: dict[str, float]) -> float:
        memory["m"] = 0.7 * memory.get("m", 0.0) + (1 - 0.7) * d
        memory["v"] = second(memory.get("v", 0.004**2), d)
        return 0.05 * memory["m"] / (memory["v"] ** 0.5 + 0.004)

    by_loop(make(server_lr=0.05, beta1=0.7, beta2=0.9, tau=0.004), server)


def fedadam_by_loop(make: Make) -> None:
    adaptive_by_loop(make, lambda v, d: 0.9 * v + (1 - 0.9) * d * d)


def fedyogi_by_loop(make: Make) -> None:
    def second(v: float, d: float) -> float:
        if v > d * d:
            return v - (1 - 0.9) * d * d
        return v + (1 - 0.9) * d * d if v < d * d else v

    adaptive_by_loop(make, second)


def adaptive_closed_form(make: Make, second: Callable[[int, np.ndarray, float], np.ndarray]) -> None:
    """Under a constant update d with the defaults: ``m = d (1 - beta1^t)`` without bias correction, and ``second``."""
    d, tau = np.array([1e-2, -2e-2, 5e-2, 0.0]), 1e-3
    models = combined(make(), START, [[contribution(2, d)]] * 6)
    for t, move in enumerate(np.diff([START, *models], axis=0), start=1):
        m, v = d * (1 - 0.9**t), second(t, d, tau)
        np.testing.assert_allclose(move, 0.01 * m / (np.sqrt(v) + tau), atol=5e-7)


def fedadam_closed_form(make: Make) -> None:
    adaptive_closed_form(make, lambda t, d, tau: tau**2 * 0.99**t + d**2 * (1 - 0.99**t))


def fedyogi_closed_form(make: Make) -> None:
    adaptive_closed_form(make, lambda t, d, tau: tau**2 + t * 0.01 * d**2)  # d^2 is above v for many rounds


# --- against client drift ---


def fedprox_is_fedavg_without_mu_and_stays_with_endless_mu(make: Make) -> None:
    clients = quadratics([3, 1], [20, 50], momentum=0.5)
    plain, none = train(FedAvg(), fresh(clients), START, 5), train(make(mu=0.0), fresh(clients), START, 5)
    np.testing.assert_array_equal(plain, none)
    np.testing.assert_allclose(train(make(mu=1e30), fresh(clients), START, 5)[-1], START, rtol=1e-7)


def fedprox_agrees_with_the_textbook_step_to_second_order(make: Make) -> None:
    """The explicit gradient ``mu (w - w_global)``: halving lr quarters the distance between the two."""
    (client,) = quadratics([1], [6])
    distances = []
    for lr in (2e-3, 1e-3, 5e-4):
        client.lr = lr
        strategy = make(mu=3.0)
        ours, _ = client.path(START, strategy.correction(strategy.question(split(START), {}), {}))
        w = START.copy()
        for _ in range(client.steps):
            w = w - lr * (client.curvature @ (w - client.optimum) + 3.0 * (w - START))
        distances.append(np.linalg.norm(ours - w) / np.linalg.norm(w - START))
    assert distances[0] < 3.0 * 2e-3
    ratios = np.divide(distances[:-1], distances[1:])
    np.testing.assert_allclose(ratios, 2, atol=0.1)  # relative to a way that itself shrinks with lr: 4 / 2


def fedprox_ends_at_the_proximal_minimum(make: Make) -> None:
    """Closed form of endless local steps: ``(A + mu)^-1 (A b + mu w_global)``, averaged."""
    clients, mu = quadratics([3, 1], [2000, 2000]), 0.7
    ends = [np.linalg.solve(c.curvature + mu * np.eye(DIM), c.curvature @ c.optimum + mu * START) for c in clients]
    (model,) = train(make(mu=mu), clients, START, 1)
    np.testing.assert_allclose(model, (3 * ends[0] + ends[1]) / 4, atol=1e-5)


def scaffold_reaches_the_joint_optimum(make: Make) -> None:
    """With many local steps, different numbers of them, and momentum; FedAvg with the same steps ends elsewhere."""
    for counts, steps, momentum, rounds in (([1, 1], [20, 20], 0.0, 60), ([3, 1], [15, 40], 0.0, 60),
                                            ([1, 4], [10, 25], 0.6, 80)):  # fmt: skip
        clients = quadratics(counts, steps, momentum)
        optimum = joint_optimum(clients)
        drifted = train(FedAvg(), fresh(clients), START, rounds)[-1]
        assert np.linalg.norm(drifted - optimum) > 0.05
        np.testing.assert_allclose(train(make(), clients, START, rounds)[-1], optimum, atol=2e-4)


def scaffold_by_algorithm_1(make: Make) -> None:
    """Against the paper's algorithm, option II. Participants are alike in it: one of n segments stands there n times.

    Partial participation, different numbers of local steps and a learning rate of the coordinator.
    """
    clients, server_lr = quadratics([1, 2, 3], [4, 7, 2]), 0.7
    drawn = [[0, 1, 2], [0, 2], [1], [0, 1], [2], [0, 1, 2], [1, 2]]
    models = train(make(server_lr=server_lr), clients, START, len(drawn), drawn)

    copies = [(p, copy) for p, client in enumerate(clients) for copy in range(client.count)]
    x, c = [float(value) for value in START], [0.0] * DIM
    own = {copy: [0.0] * DIM for copy in copies}
    for present, model in zip(drawn, models, strict=True):
        sampled = [copy for copy in copies if copy[0] in present]
        way, change = [0.0] * DIM, [0.0] * DIM
        for copy in sampled:
            client, y = clients[copy[0]], list(x)
            for _ in range(client.steps):
                g = [sum(client.curvature[k][j] * (y[j] - client.optimum[j]) for j in range(DIM)) for k in range(DIM)]
                for k in range(DIM):
                    y[k] -= client.lr * (g[k] - own[copy][k] + c[k])
            for k in range(DIM):
                new = own[copy][k] - c[k] + (x[k] - y[k]) / (client.steps * client.lr)
                way[k] += (y[k] - x[k]) / len(sampled)
                change[k] += (new - own[copy][k]) / len(sampled)
                own[copy][k] = new
        for k in range(DIM):
            x[k] += server_lr * way[k]
            c[k] += len(sampled) / len(copies) * change[k]
        np.testing.assert_allclose(model, x, atol=5e-6)


def scaffold_keeps_the_common_variate_the_mean(make: Make) -> None:
    """``c = sum_p (n_p / N) c_p`` after every round, whoever took part, as seen in questions and corrections."""
    clients, strategy = quadratics([1, 2, 3], [4, 7, 2], momentum=0.3), make(server_lr=0.5)
    weights, state = split(START), {}
    for present in ([0, 1], [2], [0, 2], [1], [1, 2], [0]):
        payload = strategy.question(weights, state)
        contributions = [clients[p].answer(strategy, payload, weights) for p in present]
        weights = strategy.aggregate(weights, contributions, state, 6)
        payload = strategy.question(weights, state)
        common = join({name: payload[f"control.{name}"] for name in weights})
        own = [common - join(strategy.correction(payload, client.state).offset) for client in clients]
        assert np.linalg.norm(own[present[0]]) > 0.1
        np.testing.assert_allclose(common, (own[0] + 2 * own[1] + 3 * own[2]) / 6, atol=1e-5)


def scaffold_leaves_an_idle_site_as_it_is(make: Make) -> None:
    (client,), strategy = quadratics([1], [5]), make()
    weights, state = split(START), {}
    weights = strategy.aggregate(
        weights, [client.answer(strategy, strategy.question(weights, state), weights)], state, 1
    )
    payload, before = strategy.question(weights, state), dict(client.state)
    changes = strategy.report(payload, client.state, split(np.zeros(DIM)), travel=0.0)
    assert all(not change.any() for change in changes.values())
    assert changes.keys() == {f"control.{name}" for name in weights}
    assert all(np.array_equal(before[name], value) for name, value in client.state.items())


# --- against malicious participants ---


def robust(strategy: Strategy, updates: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """The step that a strategy makes of the updates (n, d); counts are lies."""
    start = np.zeros(updates.shape[1]) if start is None else start
    contributions = [contribution(10 ** (k % 5), update) for k, update in enumerate(updates)]
    return combined(strategy, start, [contributions])[0]


def honest_updates(n: int, seed: int, dim: int = DIM) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32).astype(np.float64)


def median_is_numpys(make: Make) -> None:
    for n in range(1, 10):
        updates = honest_updates(n, seed=n, dim=2 * 8192 + 1 if n == 5 else DIM)  # two blocks, and the bias
        np.testing.assert_array_equal(robust(make(), updates), np.median(updates, axis=0).astype(np.float32))


def trimmed_mean_is_scipys(make: Make) -> None:
    for n in range(1, 12):
        for f in range((n + 1) // 2):
            updates = honest_updates(n, seed=n)
            expected = scipy.stats.trim_mean(updates, (f + 0.5) / n)  # scipy rounds share * n down as well
            np.testing.assert_allclose(robust(make(malicious_share=f / n), updates), expected, rtol=1e-6, atol=1e-8)
    updates = honest_updates(100, seed=0)
    expected = np.sort(updates, axis=0)[29:71].mean(axis=0)  # 0.29 * 100 is below 29 in floating point
    np.testing.assert_allclose(robust(make(malicious_share=0.29), updates), expected, rtol=1e-6, atol=1e-8)


def multi_krum_by_brute_force(make: Make) -> None:
    """A score is the least sum of squared distances to any n - f - 2 others; the n - f - 2 best are averaged."""
    for n, f in ((3, 0), (4, 0), (5, 1), (6, 1), (8, 2), (9, 3)):
        for seed in range(4):
            updates = honest_updates(n, seed=seed)
            nearest = n - f - 2
            scores = []
            for i in range(n):
                others = [sum((updates[i] - updates[j]) ** 2) for j in range(n) if j != i]
                scores.append(min(sum(part) for part in itertools.combinations(others, nearest)))
            best = sorted(range(n), key=lambda i: scores[i])[:nearest]
            found = robust(make(malicious_share=f / n), updates)
            np.testing.assert_allclose(found, sum(updates[i] for i in best) / nearest, rtol=1e-6, atol=1e-7)


PROPERTY = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    report_multiple_bugs=False,  # several would come as a group, which is no AssertionError
    phases=(Phase.generate, Phase.shrink),
)
ATTACKS = ("huge", "colluding", "flipped", "shifted", "one honest value")


def attacked(n: int, f: int, seed: int, attack: str) -> tuple[np.ndarray, np.ndarray]:
    """The honest updates (n - f, d), and all n of them with f attackers anywhere between."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(size=(n - f, DIM)) * 10.0 ** rng.integers(-3, 1) + rng.normal(size=DIM)
    evil = {
        "huge": 1e30 * rng.choice([-1.0, 1.0], (f, DIM)) * rng.random((f, DIM)),
        "colluding": np.repeat(10 * rng.normal(size=(1, DIM)), f, axis=0),
        "flipped": -5 * np.resize(honest, (f, DIM)),
        "shifted": np.resize(honest, (f, DIM)) + rng.normal(size=(1, DIM)),
        "one honest value": np.repeat(honest[:1], f, axis=0),
    }[attack]
    everyone = rng.permutation(np.concatenate([honest, evil])).astype(np.float32).astype(np.float64)
    return honest.astype(np.float32).astype(np.float64), everyone


def _property(least: Callable[[int], int]) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Over n from ``least(f)``, f, a seed and the attacks."""

    def over(check: Callable[..., None]) -> Callable[[], None]:
        @PROPERTY
        @given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 10_000), st.sampled_from(ATTACKS))
        def run(f: int, more: int, seed: int, attack: str) -> None:
            n = least(f) + more
            check(n, f, *attacked(n, f, seed, attack), seed)

        return run

    return over


def stays_among_the_honest(strategy: Strategy, honest: np.ndarray, everyone: np.ndarray, seed: int) -> None:
    start = split(np.random.default_rng(seed).normal(size=DIM))
    found = robust(strategy, everyone, join(start))
    low, high = (
        join({name: value + split(end)[name] for name, value in start.items()})
        for end in (honest.min(axis=0), honest.max(axis=0))
    )
    assert (low <= found).all() and (found <= high).all(), (low, found, high)


def median_bears_attackers(make: Make) -> None:
    @_property(lambda f: 2 * f + 1)
    def check(n: int, f: int, honest: np.ndarray, everyone: np.ndarray, seed: int) -> None:
        stays_among_the_honest(make(), honest, everyone, seed)

    check()


def trimmed_mean_bears_attackers(make: Make) -> None:
    @_property(lambda f: 2 * f + 1)
    def check(n: int, f: int, honest: np.ndarray, everyone: np.ndarray, seed: int) -> None:
        stays_among_the_honest(make(malicious_share=f / n), honest, everyone, seed)

    check()


def multi_krum_bears_attackers(make: Make) -> None:
    """Far attackers are never chosen; near ones move the result by no more than the spread of the honest allows.

    Every honest update has n - f - 2 honest others within the honest diameter D, so n - f scores are at most
    (n - f - 2) D^2 and so are all of the chosen. An attacker among them counts at least n - 2 f - 1 honest neighbours,
    so one is within D sqrt((n - f - 2) / (n - 2 f - 1)), and every honest update within D more.
    """

    @_property(lambda f: 2 * f + 3)
    def check(n: int, f: int, honest: np.ndarray, everyone: np.ndarray, seed: int) -> None:
        found = robust(make(malicious_share=f / n), everyone)
        between = np.linalg.norm(honest[:, None] - honest[None], axis=2)
        reach = between.max() * np.sqrt((n - f - 2) / (n - 2 * f - 1))
        slack = 1e-5 * (1 + np.abs(honest).max())
        assert np.linalg.norm(found - honest, axis=1).max() <= between.max() + reach + slack
        evil = [u for u in everyone if not (u == honest).all(axis=1).any()]
        far = [u for u in evil if np.linalg.norm(u - honest, axis=1).min() > between.max() * np.sqrt(n)]
        if len(far) == f:
            means = [np.mean(part, axis=0) for part in itertools.combinations(honest, n - f - 2)]
            assert min(np.abs(found - mean).max() for mean in means) <= slack

    check()


# --- any of them ---


def nobody_trained_changes_nothing(make: Make) -> None:
    """Neither model nor state, at the first round or later, whatever the updates hold."""
    strategy = make()
    weights, state = split(START), {}
    for number in range(3):
        strategy.question(weights, state)
        for idle in ([], [contribution(0, np.ones(DIM), np.ones(DIM))] * 6):
            after = dict(state)
            model = strategy.aggregate(weights, idle, after, 10)
            np.testing.assert_array_equal(join(model), join(weights))
            assert after.keys() == state.keys()
            assert all(np.array_equal(after[name], state[name]) for name in state)
        updates = np.random.default_rng(number).normal(size=(6, DIM))
        weights = strategy.aggregate(weights, [contribution(2, u, u) for u in updates], state, 12)


def who_has_no_segment_counts_for_nothing(make: Make) -> None:
    updates = np.random.default_rng(5).normal(size=(7, DIM))
    contributions = [contribution(n, u, u) for n, u in zip([4, 1, 2, 0, 5, 3, 2], updates, strict=True)]
    without = [c for c in contributions if c.count]
    strategy = make()
    np.testing.assert_array_equal(
        combined(strategy, START, [contributions] * 2), combined(strategy, START, [without] * 2)
    )


def one_participant_is_followed(make: Make) -> None:
    update = np.array([0.5, -0.25, 2.0, 1.0])
    (model,) = combined(make(), START, [[contribution(3, update, update)]])
    np.testing.assert_array_equal(model, START + update)
