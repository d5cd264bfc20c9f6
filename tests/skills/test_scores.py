"""Scores against values worked out by hand."""

import numpy as np
import pytest

from palaestra.skills.scores import cvar, halves, mean_interval, path_length_score, percentile_20, sign_test
from palaestra.skills.suites import paired


@pytest.mark.parametrize(
    ("success", "shortest", "calls", "expected"),
    [(True, 4, 4, 1.0), (True, 4, 8, 0.5), (True, 4, 3, 1.0), (False, 4, 4, 0.0), (True, 0, 0, 1.0), (False, 0, 0, 0.0), (True, 0, 2, 0.0)],
)
def test_spl_is_success_times_the_share_of_calls_that_were_needed(success, shortest, calls, expected):
    assert path_length_score(success, shortest, calls) == expected


def test_cvar_ranks_by_one_group_and_reports_the_other():
    """Ten tasks: the first group finds tasks 7 and 2 worst, and the second says how those two really go: 0.5 and 1."""
    ranked = np.array([1, 1, 0.25, 1, 1, 1, 1, 0, 1, 0.5])
    scored = np.array([1, 0, 1.0, 1, 1, 1, 1, 0.5, 1, 0])
    assert cvar(ranked, scored) == {"10": 0.5, "20": 0.75, "50": pytest.approx(2.5 / 5), "100": pytest.approx(0.75)}


def test_cvar_at_a_thousandth_takes_a_thousand_tasks():
    assert set(cvar(np.zeros(1000), np.zeros(1000))) == {"0.1", "1", "5", "10", "20", "50", "100"}
    assert set(cvar(np.zeros(999), np.zeros(999))) == {"1", "5", "10", "20", "50", "100"}


def test_bad_luck_is_not_counted_as_difficulty():
    """Every task succeeds in half of its trials: by one group the worst tenth looks like 0, by two it is the half that it is."""
    won = np.random.default_rng(0).random((2, 20_000)) < 0.5
    first, second = halves(won)
    assert cvar(first, first)["10"] == 0.0
    assert cvar(first, second)["10"] == pytest.approx(0.5, abs=0.05)


def test_groups_are_the_first_and_the_second_half_of_the_trials():
    first, second = halves(np.array([[1, 0], [0, 0], [1, 1], [1, 0]], bool))
    assert first.tolist() == [0.5, 0.0]
    assert second.tolist() == [1.0, 0.5]


def test_a_fifth_of_the_tasks_do_not_exceed_the_20th_percentile():
    assert percentile_20(np.arange(10.0)) == 1.0
    assert percentile_20(np.array([0.0, 1, 1, 1, 1])) == 0.0
    assert percentile_20(np.array([0.0, 1, 1, 1, 1, 1])) == 1.0


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution_for_many_values():
    values = np.random.default_rng(1).exponential(size=2000)
    low, high = mean_interval(values)
    half = 1.96 * values.std() / np.sqrt(2000)
    np.testing.assert_allclose([low, high], [values.mean() - half, values.mean() + half], atol=0.01)
    assert mean_interval(values) == (low, high)


def test_the_sign_test_is_that_of_the_binomial_distribution():
    """Of 10 pairs that differ, 1 or fewer go one way with probability 11 / 1024; twice that for both ways."""
    assert sign_test(9, 1) == sign_test(1, 9) == pytest.approx(22 / 1024)
    assert sign_test(0, 0) == sign_test(3, 3) == 1.0


def test_pairs_are_compared_task_by_task():
    found = paired([True, True, True, False], [True, False, False, True])
    assert (found["value"], found["lost"], found["gained"], found["drop"]) == (0.5, 2, 1, 0.25)
    assert found["p"] == 1.0
