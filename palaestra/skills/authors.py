"""Who writes the configurations of the sampler `envgen`: the rule, or a language model at any OpenAI-compatible endpoint."""

import json
from pathlib import Path
from typing import Any

from palaestra.policies.envgen import Answer, Author, Request, Scripted
from palaestra.sim.errors import UnknownNameError
from palaestra.skills.plan import bare_json
from palaestra.skills.planners import PlannerChoice
from palaestra.skills.planners.client import Client, Message

_ECHO = 4000  # characters of a refused answer that are sent back

_SYSTEM = """\
A robot learns household tasks in simulated houses that a generator draws. You choose which tasks it practises next: you are given
its rate of success, and answer with configurations of the generator. Half of its practice is drawn from them, the rest from the
original distribution, on which it is measured. Choose what helps it to improve there: what it sometimes succeeds at, and what leads
on to that at which it fails; what it masters needs little practice.

Answer with one JSON object and nothing else, of this form:
{{"environments": [{form}]}}
Give 1 to {most} configurations, all properties of each. The properties and their limits:
{words}"""


class ModelAuthor:
    """A language model; options as for `Client`, `timeout` in seconds for every call."""

    def __init__(
        self, base_url: str, model: str, api_key: str | None = None, timeout: float = 30.0, log: Path | None = None, **client: Any
    ):
        self.client = Client(base_url, model, api_key, {"temperature": 0.0, "max_tokens": 4096}, log, **client)
        self.timeout, self.name = timeout, model

    def answer(self, request: Request) -> Answer:
        """Raises PlanError of the client. What was cut short is no JSON, and refused as that."""
        reply = self.client.complete(messages(request), request.schema(), self.timeout, name="environments")
        used = reply.usage
        return Answer(bare_json(reply.text, "environments"), used.get("prompt_tokens", 0), used.get("completion_tokens", 0))


def messages(request: Request) -> list[Message]:
    """The conversation: the task, the rates, and what was wrong with the answer before."""
    space = request.space
    original = json.dumps(space.as_dict(space.original))
    rates = "\n".join(f"{name}: {won} of {tried}" for name, (won, tried) in request.rates.items())
    parts = {
        "Episodes in which the robot succeeded, by part of the original distribution": rates,
        "The original distribution's own configuration": original,
        "The configurations in force until now": "\n".join(json.dumps(one) for one in request.present) or "none",
    }
    system = _SYSTEM.format(form=original, most=request.most, words=space.words())
    talk = [
        {"role": "system", "content": system},
        {"role": "user", "content": "\n\n".join(f"{title}:\n{text}" for title, text in parts.items())},
    ]
    if request.refused:
        text, fault = request.refused
        told = f"This answer cannot be used. {fault}\nAnswer with the whole object again, corrected."
        talk += [{"role": "assistant", "content": text[:_ECHO]}, {"role": "user", "content": told}]
    return talk


def author(choice: PlannerChoice, log: Path | None = None) -> Author:
    """The author as the command line names it, `scripted` or `openai`; every exchange with an endpoint is written to `log`."""
    if choice.name == "scripted":
        return Scripted()
    if choice.name != "openai":
        raise UnknownNameError("author", choice.name, ("scripted", "openai"))
    return ModelAuthor(**choice.endpoint("author"), log=log)
