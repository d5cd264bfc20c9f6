"""The author for language models against a server that answers well, badly, late and not at all."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from palaestra.envs.configs import Space
from palaestra.policies.envgen import Consultation, Request, consult
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.skills.authors import ModelAuthor, author
from palaestra.skills.planners import PlannerChoice
from tests.envs.worlds import env
from tests.skills.fake_server import Behaviour, drips, error, hangs, hangs_up, raw, says, serve, without_response_format

pytest.importorskip("openai")

SPACE = Space(env("navigate-houses"))
RATES = dict.fromkeys(SPACE.families, (3, 7))
REQUEST = Request(SPACE, RATES, ({"max_rooms": 2},), 4)
GOOD = SPACE.as_dict(SPACE.original) | {"min_rooms": 2, "max_rooms": 3}


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.lower().endswith("_proxy") or n.startswith("OPENAI_")]:
        monkeypatch.delenv(name)


def text(*configs: dict[str, Any]) -> str:
    return json.dumps({"environments": list(configs)})


def ask(*script: Behaviour, **options: Any) -> tuple[Consultation, list[dict[str, Any]]]:
    """How it went, and the bodies of the requests."""
    with serve(*script) as server:
        made = ModelAuthor(server.url, "fake", **{"timeout": 5.0, **options})
        went = consult(made, REQUEST)
        made.client.close()
        return went, [request["body"] for request in server.requests]


def test_a_good_answer_and_what_was_asked() -> None:
    went, (body,) = ask(says(text(GOOD, GOOD)))
    assert went.configs == [SPACE.check(GOOD)] * 2
    assert (went.answers[0].prompt_tokens, went.answers[0].completion_tokens) == (700, 50)
    form = body["response_format"]
    assert form["json_schema"] == {"name": "environments", "strict": True, "schema": REQUEST.schema()}
    system, user = (message["content"] for message in body["messages"])
    assert SPACE.words() in system
    assert json.dumps(SPACE.as_dict(SPACE.original)) in user
    assert "goals: near_table: 3 of 7" in user
    assert '{"max_rooms": 2}' in user


@pytest.mark.parametrize("around", ["Sure:\n```json\n%s\n```\nDone.", "<think>two rooms {}</think>%s", "\n%s<|im_end|>"])
def test_replies_of_servers_that_ignore_the_schema_are_read(around: str) -> None:
    went, bodies = ask(says(around % text(GOOD)))
    assert went.configs == [SPACE.check(GOOD)]
    assert len(bodies) == 1


def test_a_server_without_response_format_is_asked_without() -> None:
    with pytest.warns(UserWarning, match="refuses response_format"):
        went, bodies = ask(without_response_format(says(text(GOOD))))
    assert went.configs == [SPACE.check(GOOD)]
    assert ["response_format" in body for body in bodies] == [True, False]


def test_an_answer_outside_the_schema_is_refused_told_and_mended() -> None:
    went, (_, second) = ask(says(text(GOOD | {"max_rooms": 12})), says(text(GOOD)))
    assert went.configs == [SPACE.check(GOOD)]
    assert (len(went.answers), len(went.faults)) == (2, 1)
    _, _, mine, told = second["messages"]
    assert mine == {"role": "assistant", "content": text(GOOD | {"max_rooms": 12})}
    assert "environments[0], max_rooms: got 12, expected a whole number from 1 to 4 (navigate-houses). Fix: " in told["content"]


@pytest.mark.parametrize(
    "behaviour",
    [
        says("Make them harder."),
        says(None),
        says(text(GOOD)[:60], "length"),
        says(text(GOOD) + text(GOOD)),
        says(text(GOOD | {"doors": 3})),
        says(text(GOOD | {"goals": GOOD["goals"] | {"in_room": 0, "near_bin": 99}})),
        says("[" * 100_000),
    ],
)
def test_what_cannot_be_used_is_refused_twice_and_counted(behaviour: Behaviour) -> None:
    went, bodies = ask(behaviour)
    assert went.configs is None
    assert len(went.answers) == len(went.faults) == len(bodies) == 2
    assert sum(answer.completion_tokens for answer in went.answers) == 100
    assert all("expected" in fault and "Fix: " in fault for fault in went.faults)
    assert max(len(answer.text) for answer in went.answers) <= 20_001


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (error(500), "HTTP 500"),
        (raw("<html>Welcome</html>", 200, "text/html"), "expected a chat completion"),
        (hangs_up, "no connection"),
        (hangs(3.0), "no answer in 0.4 s"),
        (drips, "no answer in 0.4 s"),
    ],
)
def test_no_answer_is_no_refusal(behaviour: Behaviour, message: str) -> None:
    went, _ = ask(behaviour, timeout=0.4)
    assert (went.configs, went.answers, len(went.faults)) == (None, [], 1)
    assert message in went.faults[0]


def test_authors_by_name(tmp_path: Path) -> None:
    assert author(PlannerChoice("scripted")).name == "scripted"
    log = tmp_path / "author.jsonl"
    with serve(says(text(GOOD))) as server:
        made = author(PlannerChoice("openai", server.url, "fake"), log)
        assert made.name == "fake"
        assert consult(made, REQUEST).configs
    assert json.loads(log.read_text().splitlines()[-1])["response"]["usage"] == {"prompt_tokens": 700, "completion_tokens": 50}
    with pytest.raises(UnknownNameError, match="unknown author 'gpt'; expected one of: openai, scripted"):
        author(PlannerChoice("gpt"))
    with pytest.raises(PalaestraError, match="author 'openai': got no model"):
        author(PlannerChoice("openai"))
