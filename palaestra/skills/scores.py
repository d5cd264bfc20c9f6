"""What is computed from an evaluation's episodes: plain functions of arrays over tasks."""

import math

import numpy as np

ALPHAS = (0.1, 1, 5, 10, 20, 50, 100)  # per cent of the tasks


def path_length_score(success: bool, shortest: int, calls: int) -> float:
    """SPL of one episode, S · l / max(l, c), with calls for metres: l of the oracle's plan, c that were started (Anderson 2018)."""
    longest = max(shortest, calls)
    return float(success) * (shortest / longest if longest else 1.0)


def mean_interval(values: np.ndarray, resamples: int = 10_000) -> tuple[float, float]:
    """95% interval of the mean of independent values [n], by the percentile bootstrap; the same for the same values."""
    rng, n = np.random.default_rng(0), len(values)
    means = [values[rng.integers(n, size=n)].mean() for _ in range(resamples)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def cvar(ranked_by: np.ndarray, scored_by: np.ndarray) -> dict[str, float]:
    """Mean score of the worst α% of tasks, for each α that makes at least one task (Rutherford et al. 2024).

    `ranked_by` [n] chooses the worst tasks, and `scored_by` [n] says how those went: success rates of two groups of trials with
    independent randomness. One group for both would count bad luck as difficulty. Of equals, the lower number counts as worse,
    which says nothing about the task.
    """
    order = np.argsort(ranked_by, kind="stable")
    sizes = {f"{alpha:g}": int(len(order) * alpha / 100 + 1e-9) for alpha in ALPHAS}
    return {alpha: float(scored_by[order[:size]].mean()) for alpha, size in sizes.items() if size}


def halves(success: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Success rates by task in the two groups of trials: [trials, n] -> [n], [n]; trials even."""
    middle = len(success) // 2
    return success[:middle].mean(0), success[middle:].mean(0)


def brier(chance: np.ndarray, happened: np.ndarray) -> float:
    """Mean of (p - o)² of forecasts [n] and what happened [n], 0 or 1 (Brier 1950): less is better."""
    return float(np.square(chance - happened).mean())


def sign_test(lost: int, gained: int) -> float:
    """Two-sided p of the exact sign test: that of pairs which differ, as likely either way, so few or fewer go one way."""
    n, few = lost + gained, min(lost, gained)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(few + 1)) / 2**n)


def percentile_20(score: np.ndarray) -> float:
    """The score of the task that a fifth of the tasks do not exceed: an order statistic, no interpolation."""
    return float(np.percentile(score, 20, method="inverted_cdf"))
