"""What a user types, and what comes back when it is wrong: exit status 2, a message, no traceback."""

import json

import pytest

from palaestra.__main__ import main
from palaestra.skills.library import SKILLS


def run(capsys, *arguments):
    status = main(list(arguments))
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, " ".join(err.split())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["eval", "skill/fly"],
            "unknown id 'skill/fly'; expected one of: crates, demo, doors, generalist, hampers,",
        ),
        (["eval", "rearange"], "Did you mean 'rearrange'?"),
        (["eval", "rearrange", "--split", "dev"], "unknown split 'dev'; expected one of: larger, test, train, validation"),
        (
            ["eval", "rearrange", "--planner", "gpt"],
            "unknown planner 'gpt'; expected one of: careful, defiant, embedded, no-language, nothing,",
        ),
        (["eval", "rearrange", "--trials", "3"], "trials: got 3, expected 1 or an even number"),
        (["eval", "rearrange", "--batch", "0"], "batch: got 0, expected 1 or more"),
        (["eval", "rearrange", "--noise", "loud"], "unknown noise 'loud'; expected one of: always, retries"),
        (["eval", "rearrange", "--seed", "-1"], "seed: got -1, expected 0 to 2147483647"),
        (["eval", "skill/pick", "--probes"], "expected a task set"),
        (["eval", "planner", "--latency", "5"], "got some for 'planner', expected a task set with them"),
        (["eval", "planner", "--trials", "2"], "got some for 'planner', expected a task set with them"),
        (["eval", "rearrange", "--failures", "0.1"], "--protocol, --failures: got some for 'rearrange', expected 'planner'"),
        (["eval", "rearrange", "--latency", "-1"], "latency: got -1.0, expected seconds, 0 or more, or measured"),
        (["eval", "rearrange", "--planner", "program"], "planner 'program': got no file"),
        (["improve", "--episodes", "0"], "improve: got 0 episodes"),
        (["watch", "nowhere", "--episode", "17"], "expected the folder of an evaluation"),
        (["eval", "skill/pick", "--episodes", "0"], "episodes: got 0, expected 1 or more"),
        (["train", "juggle"], "unknown id 'juggle'"),
        (["train", "rearrange", "--sampler", "envgen", "--author", "gpt"], "unknown author 'gpt'; expected one of: openai, scripted"),
        (["train", "rearrange", "--sampler", "envgen", "--author", "openai"], "author 'openai': got no model"),
        (["tasks", "sample", "--config", "nowhere.json"], "nowhere.json: cannot be read"),
        (["train", "pick", "--easy", "2"], "easy: got 2.0, expected a share from 0 to 1"),
        (["train", "pick", "--num-envs", "-1"], "num_envs: got -1, expected 1 or more"),
        (["train", "pick", "--num-envs", "16", "--steps", "10"], "steps: got 10, expected at least one update"),
        (["admit", "rearrange", "nowhere"], "unknown skill 'rearrange'; expected one of: close, handover, navigate, open, pick"),
        (["admit", "pick", "nowhere"], "expected the folder of a training run"),
        (["eval", "rearrange", "--policy", "x"], "x: no such file; expected a palaestra/policy/1 file"),
        (["eval", "perturbed", "--policy", "x"], "--policy: got x for the suite 'perturbed', expected a skill or a task set"),
        (["eval", "generalist"], "generalist: got no --policy, expected a run's policy.safetensors. Fix: palaestra train generalist"),
        (["train", "rearrange", "--learner", "distillation"], "distillation: got 'rearrange', expected a skill or 'generalist'"),
        (["train", "generalist", "--trials", "2"], "distillation: got --trials or --sampler, expected neither"),
        (["train", "hidden-rules", "--trials", "0"], "trials: got 0, expected 1 or more"),
        (["demo", "--seed", "5000000000"], "seed: got 5000000000, expected 0 to 2147483647"),
        (["demo", "--planner", "openai"], "got no model"),
        (["skills", "--pages", "/dev/null/pages"], "/dev/null/pages: cannot write (Not a directory). Fix: another folder"),
        (["skills", "--pages", "unused", "--films", "-1"], "films: got -1, expected 0 or more"),
        (["bench", "engine", "--num-envs", "-1"], "num_envs: got -1, expected 1 or more"),
        (["play", "--task-set", "kitchens"], "unknown task set 'kitchens'"),
    ],
)
def test_wrong_words_are_answered_with_the_right_ones(capsys, arguments, expected):
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert expected in err


def test_foreign_weights_are_refused_by_name(capsys, tmp_path):
    path = tmp_path / "policy.safetensors"
    path.write_bytes(b"not weights")
    status, _, err = run(capsys, "eval", "skill/pick", "--policy", str(path))
    assert status == 2
    assert "policy.safetensors: damaged or not a safetensors file" in err


def test_skills_are_listed_as_json(capsys):
    status, out, _ = run(capsys, "skills", "--json")
    assert status == 0
    table = json.loads(out.strip().splitlines()[-1])
    assert table["value"] == len(SKILLS)
    place = "place(object: object, receptacle: table or bin or plate or drawer or shelf or hamper)"
    assert any(name.startswith(place) for name in table["skills"])


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("fly to the moon", "no verb"),
        ("put the transparent elephant on the table", "Try: "),
    ],
)
def test_an_instruction_that_makes_no_sense_is_explained(capsys, tmp_path, instruction, expected):
    status, _, err = run(capsys, "demo", "--instruction", instruction, "--folder", str(tmp_path))
    assert status == 2
    assert expected in err
    assert not list(tmp_path.glob("*.mp4"))


def test_an_endpoint_that_is_down_ends_the_demo_as_that_failure(capsys, tmp_path):
    pytest.importorskip("openai")
    arguments = ["--planner", "openai", "--base-url", "http://127.0.0.1:9/v1", "--model", "none", "--folder", str(tmp_path), "--json"]
    status, out, _ = run(capsys, "demo", *arguments)
    assert status == 1
    report = json.loads(out.strip().splitlines()[-1])
    assert report["value"] == 0.0
    assert report["outcome"] == "planner: endpoint"
    assert report["calls"] == []
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert events[-1]["outcome"] == "planner: endpoint"


@pytest.mark.slow
def test_the_demo_reaches_its_goal_and_leaves_film_sheet_and_log(capsys, tmp_path):
    status, out, _ = run(capsys, "demo", "--folder", str(tmp_path), "--json")
    report = json.loads(out.strip().splitlines()[-1])
    assert status == 0
    assert report["value"] == 1.0
    assert len(report["goal"]) >= 2
    for name in ("demo.mp4", "sheet.png", "log.jsonl"):
        assert (tmp_path / name).stat().st_size > 1000
