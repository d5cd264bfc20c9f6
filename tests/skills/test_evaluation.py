"""Evaluation of task sets: rows that do not depend on the batch, tables that are whole, episodes that can be watched again."""

import json
from dataclasses import replace

import pytest

from palaestra.envs.goals import literal
from palaestra.sim.errors import PalaestraError
from palaestra.skills import evaluation, suites, table
from palaestra.skills import watch as watching
from palaestra.skills.evaluation import Arena, Config, Options, measure_task_set
from palaestra.skills.measure import measure
from palaestra.skills.planners import PlannerChoice
from palaestra.skills.summary import summary
from palaestra.skills.table import Row, TableError

EPISODES = 18  # more than there are lanes
FEW = 6
ROW = Row(
    planner="oracle",
    trial=0,
    episode=0,
    seed=0,
    set="rearrange",
    split="test",
    instruction='Put the "red" cube, then go.\nThank you',
    goal="red_cube on blue_table; robot in kitchen",
    family="plain",
    style="ring",
    rooms=5,
    literals=2,
    stages=1,
    reached=1,
    difficulty=5,
    calls=6,
    steps=208,
    outcome="success",
    success=True,
    recall_at_start=1 / 3,
    recall=1.0,
    spl=5 / 6,
    plans='[[["pick", "red_cube"]], []]',
)


A, B = literal(("on", "red_cube", "table")), literal(("inside", "red_ball", "bin"))


@pytest.fixture(scope="module")
def shared():
    """One compiled executor a set for all evaluations of this module, whatever their folder and batch."""
    made: dict[str, Arena] = {}

    def arena(config: Config) -> Arena:
        found = made.setdefault(config.set, Arena(config))
        found.config, found.executor.noise, found.executor.watch = config, config.noise, None
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "Arena", arena)
        patch.setattr(watching, "Arena", arena)
        yield


def measured(folder, batch, episodes=EPISODES, **options):
    choice = PlannerChoice(options.pop("planner", "oracle"))
    plan = Options(folder=folder, batch=batch, **options)
    return measure_task_set("rearrange", episodes, 0, "test", choice, None, "native", plan)


@pytest.fixture(scope="module")
def run(shared, tmp_path_factory):
    """All episodes in one batch, two trials each, with all the noise there is."""
    folder = tmp_path_factory.mktemp("eval") / "one"
    return folder, measured(folder, EPISODES, trials=2, noise="always")


@pytest.mark.slow
def test_rows_are_the_same_to_the_bit_whatever_the_batch(run, tmp_path):
    folder, result = run
    other = measured(tmp_path / "many", 7, trials=2, noise="always")
    written = (folder / "episodes.csv").read_bytes()
    assert (tmp_path / "many" / "episodes.csv").read_bytes() == written
    rows = table.read(folder / "episodes.csv", 2 * EPISODES)
    assert [(row.trial, row.episode) for row in rows] == [(t, i) for t in range(2) for i in range(EPISODES)]
    same = {k: v for k, v in result.items() if k not in ("folder", "seconds")}
    assert {k: v for k, v in other.items() if k not in ("folder", "seconds")} == same
    assert len({row.steps for row in rows}) > 2, "the episodes are no copies of each other"
    assert result["same_in_all_trials"] < 1, "trials draw other noise"
    assert json.loads((folder / "summary.json").read_text()) == same


@pytest.mark.slow
def test_any_episode_is_repeated_and_filmed_and_a_table_that_says_otherwise_is_contradicted(run):
    folder, _ = run
    rows = table.read(folder / "episodes.csv", 2 * EPISODES)
    chosen = min((row for row in rows if row.trial == 1), key=lambda row: row.steps)
    seen = watching.watch(folder, chosen.episode, trial=1)
    assert seen["value"] == 1.0, seen["as_in_the_table"]
    for made in (seen["film"], seen["sheet"]):
        assert (folder / made).stat().st_size > 1000
    table.write(folder / "episodes.csv", [replace(row, steps=row.steps + 8) if row is chosen else row for row in rows])
    seen = watching.watch(folder, chosen.episode, trial=1)
    assert seen["value"] == 0.0
    assert seen["as_in_the_table"] == [f"steps: got {chosen.steps}, the table has {chosen.steps + 8}"]
    table.write(folder / "episodes.csv", rows)


@pytest.mark.slow
def test_probes_stand_beside_the_planner(shared, tmp_path):
    result = measured(tmp_path, FEW, FEW, planner="nothing", probes=True)
    assert result["value"] == 0
    assert result["participation"] == 0
    assert result["outcomes"] == {"incomplete plan": FEW}
    assert set(result["beside"]) == {"oracle", "random-legal", "no-language", "shuffled", "random"}
    assert result["beside"]["oracle"]["value"] > max(
        result["beside"][p]["value"] for p in ("random-legal", "no-language", "shuffled", "random")
    )
    assert result["beside"]["random"]["n"] == FEW


@pytest.mark.slow
def test_a_suite_compares_the_same_tasks_pair_by_pair(shared, tmp_path, monkeypatch):
    """Other words change nothing for the oracle, so that every row but for the words is that of its base task."""
    monkeypatch.setitem(suites.SUITES, "perturbed", ("rearrange", "perturbed-language"))
    result = measure("perturbed", FEW, 0, "test", PlannerChoice(), None, None, options=Options(folder=tmp_path))
    base, other = (table.read(tmp_path / name / "episodes.csv", FEW) for name in suites.SUITES["perturbed"])
    assert all(a.instruction != b.instruction for a, b in zip(base, other, strict=True))
    assert [replace(row, set="rearrange", instruction="") for row in other] == [replace(row, instruction="") for row in base]
    assert result["base"]["value"] == result["value"] == sum(row.success for row in base) / FEW
    pair = result["sets"]["perturbed-language"]
    assert (pair["drop"], pair["lost"], pair["gained"], pair["p"]) == (0, 0, 0, 1)
    assert json.loads((tmp_path / "summary.json").read_text())["sets"] == result["sets"]


def test_a_folder_with_another_run_is_left_as_it_is(shared, tmp_path):
    config = Config.read(_made(tmp_path))
    with pytest.raises(PalaestraError, match="got another evaluation there, with other episodes, trials"):
        evaluation._claim(tmp_path, replace(config, episodes=7, trials=2))
    assert Config.read(tmp_path) == config
    assert (tmp_path / "episodes.csv").read_text() == "kept"
    evaluation._claim(tmp_path, config)
    assert (tmp_path / "episodes.csv").read_text() == "kept"


def _made(folder):
    """A run's folder, without a run."""
    config = evaluation._config("rearrange", 1, 0, "test", PlannerChoice(), "native", Options())
    evaluation._claim(folder, config)
    (folder / "episodes.csv").write_text("kept")
    return folder


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda text: text[: text.index("Put it")], "line 3 is damaged .expected 23 cells"),
        (lambda text: text[: text.index("oracle,0,1")], "got 1 episodes, expected 2: it is cut"),
        (lambda text: "", "got the columns nothing; expected planner, trial, episode"),
        (lambda text: text.replace("True", "perhaps", 1), "line 2 is damaged"),
        (lambda text: "a,b\n1,2\n", "got the columns a, b; expected"),
    ],
)
def test_a_damaged_table_is_refused_by_line(tmp_path, damage, expected):
    path = tmp_path / "episodes.csv"
    table.write(path, [replace(ROW, instruction="Go."), replace(ROW, episode=1, instruction="Put it down.")])
    path.write_text(damage(path.read_text()))
    with pytest.raises(TableError, match=expected):
        table.read(path, 2)


def test_a_table_reads_back_as_it_was_and_says_what_is_in_it(tmp_path):
    path = tmp_path / "episodes.csv"
    rows = [ROW, replace(ROW, episode=1, trial=1, success=False, outcome="timeout (pick: timeout)")]
    table.write(path, rows)
    assert table.read(path, 2) == rows
    assert table.find(path, rows, planner="oracle", episode=1, trial=1) == rows[1]
    with pytest.raises(TableError, match="got episode 17, trial 0 of 'oracle'; expected episodes 0 to 1, trials 0 to 1, planners oracle"):
        table.find(path, rows, planner="oracle", episode=17, trial=0)


def test_a_summary_counts_tasks_not_trials():
    """Four tasks, two trials: 3 of 4 succeed at first, then 1 of 4; worst by the first trial is task 3, which the second one wins."""
    won = {0: (1, 1, 1, 0), 1: (0, 0, 0, 1)}
    rows = [
        replace(
            ROW,
            trial=t,
            episode=i,
            success=bool(s),
            recall_at_start=0.0,
            recall=1.0 if s else 0.5 * (i == 0),
            difficulty=4 + i % 2,
            rooms=1 + i // 3,
        )
        for t in (1, 0)
        for i, s in enumerate(won[t])
    ]
    found = summary(rows)
    assert (found["value"], found["n"], found["trials"]) == (0.75, 4, 2)
    assert found["interval"] == pytest.approx([0.3006, 0.9544], abs=1e-4)  # Wilson, 3 of 4
    assert found["success_in_all_trials"] == 0.5
    assert found["recall"] == pytest.approx((3 + 1.5) / 8)
    assert found["participation"] == 1.0
    assert found["by_difficulty"] == {"4": "2 of 2", "5": "1 of 2"}
    assert (found["by_rooms"], found["by_style"]) == ({"1": "3 of 3", "2": "0 of 1"}, {"ring": "3 of 4"})
    assert found["cvar"] == {"50": 0.5, "100": 0.25}
    assert found["same_in_all_trials"] == 0.0


def test_chains_are_scored_by_how_far_they_came():
    """Three chains of five: 5, 2 and 2 stages reached."""
    rows = [replace(ROW, episode=i, stages=5, reached=k, success=k == 5) for i, k in enumerate((5, 2, 2))]
    found = summary(rows)["chain"]
    assert found["average_length"] == 3.0
    assert found["at_least"] == {"1": 1.0, "2": 1.0, "3": pytest.approx(1 / 3), "4": pytest.approx(1 / 3), "5": pytest.approx(1 / 3)}
    assert sum(found["at_least"].values()) == pytest.approx(found["average_length"])
    assert found["interval"] == [2.0, 5.0]  # of 27 resamples 8 have none of the first, and one has nothing else
    assert "chain" not in summary([ROW])
