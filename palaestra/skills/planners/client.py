"""The one door to the package `openai`: chat completions of any compatible endpoint, with every failure classed and every
exchange logged. What the server sends is only ever read as text."""

import json
import queue
import re
import threading
import time
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from palaestra.envs.configs import closed
from palaestra.sim.errors import MissingExtraError, PalaestraError
from palaestra.skills.plan import Failure, Fault, PlanError, strip_thoughts

Message = dict[str, str]  # role, content

_FIXES = {
    400: "read what the server says; it may not know an option of this client",
    401: "pass the right api_key",
    403: "pass an api_key that may use this model",
    404: "check the model's name, and that base_url ends where /chat/completions follows (mostly in /v1)",
    429: "wait, or ask for less",
}


_REFUSALS = (400, 422)  # of a form that a server does not know

# What the schema forbids is asked for, so that who obeys the words alone is found out.
_PROBE: list[Message] = [{"role": "user", "content": "What colour is a plum? Answer with the one word purple, as plain text, not as JSON."}]
_COLOURS = closed({"colour": {"type": "string", "enum": ["red", "green"]}})


@dataclass(frozen=True)
class Reply:
    """What came back."""

    text: str
    finish_reason: str
    usage: dict[str, int]  # tokens, as far as the server tells


class EndpointError(PlanError):
    """The endpoint did not answer with a chat completion.

    `status` is that of HTTP, where there was an answer; `passing`: another try may go better, `after` so many seconds if the server says.
    """

    def __init__(self, fault: Fault, status: int | None = None, passing: bool = False, after: float | None = None):
        super().__init__(fault)
        self.status, self.passing, self.after = status, passing, after


class Tier(StrEnum):
    """What a server holds its answers to, the strictest first."""

    SCHEMA = "json_schema"
    OBJECT = "json_object"
    PROMPT = "prompt"  # to nothing: the form is asked for in words


@dataclass(frozen=True)
class Budget:
    """The most that may be asked of an endpoint; 0: as much as you like."""

    calls: int = 0
    tokens: int = 0  # of prompts and answers together, as far as the server tells


@dataclass
class Spent:
    """What was asked of an endpoint, and what it took."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0  # answers whose tokens the server did not tell
    latencies: list[float] = field(default_factory=list)  # s, of every call

    def add(self, seconds: float, reply: Reply | None) -> None:
        self.calls += 1
        self.latencies.append(seconds)
        if reply:
            self.prompt_tokens += reply.usage.get("prompt_tokens", 0)
            self.completion_tokens += reply.usage.get("completion_tokens", 0)
            self.uncounted += not reply.usage

    def report(self) -> dict[str, Any]:
        """The sums, and the latency's median and 95th percentile in seconds."""
        sums = {name: value for name, value in asdict(self).items() if name != "latencies"}
        spread = {"latency_median": 50, "latency_p95": 95}
        return sums | {name: round(float(np.percentile(self.latencies or [0.0], share)), 3) for name, share in spread.items()}


class Client:
    """One endpoint and one model.

    What the server promises is tried out before the first completion (see `Tier`): some accept a schema and do not hold to it.

    Args:
        base_url: where /chat/completions follows, as http://localhost:8080/v1.
        model: its name, as the server knows it.
        api_key: sent to this endpoint only, never logged; no environment variable is read.
        options: further fields of every request, as temperature.
        log: a file to which every exchange is appended, one JSON line each.
        replay: such a file, that answers in the endpoint's place; nothing is sent then.
        budget: of this client, in all.
        retries: of a request whose failure may pass (429, 5xx, a connection cut short), as far as there is time.
        pause: seconds before the first of them, twice as long before each further one, where the server says nothing.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None,
        options: Mapping[str, Any],
        log: Path | str | None = None,
        *,
        replay: Path | str | None = None,
        budget: Budget = Budget(),
        retries: int = 2,
        pause: float = 0.5,
    ):
        self._url, self._key = base_url, api_key
        self._body = {"model": model, **options}
        self._log = Path(log) if log else None
        self._budget, self._retries, self._pause = budget, retries, pause
        self.tier: Tier | None = None  # not known before the first completion
        self.spent = Spent()
        self._recording = Recording(Path(replay)) if replay else None
        if replay and self._log and self._log.resolve() == Path(replay).resolve():
            self._log = None  # it would grow by what it says
        if not self._recording:
            try:
                import openai
            except ImportError:
                raise MissingExtraError("the openai planner", "openai", "llm") from None
            self._openai = openai
            self._connection = self._connect()

    def complete(self, messages: Sequence[Message], schema: dict[str, Any], seconds: float, name: str = "plan") -> Reply:
        """One completion held to a schema of this name, as far as the server can.

        Raises PlanError: endpoint, timeout, or limit, where the budget is spent. A server that refuses this schema with 400 (it may be
        too long for it) is asked once more without, and from then on.
        """
        deadline = self.now() + seconds
        if self.tier is None:
            self.tier = self._probed(deadline)
            if self.tier is not Tier.SCHEMA:
                told = f"{self._where()} does not hold to schemas; they are only asked for and checked ({self.tier})"
                warnings.warn(told, stacklevel=2)
        try:
            return self._patiently(messages, _form(self.tier, name, schema), deadline)
        except EndpointError as error:
            if self.tier is Tier.PROMPT or error.status not in _REFUSALS:
                raise
        reply = self._patiently(messages, {}, deadline, "without response_format, which the server refused")
        self.tier = Tier.PROMPT
        warnings.warn(f"{self._where()} refuses response_format; the schema is not enforced, only asked for and checked", stacklevel=2)
        return reply

    def now(self) -> float:
        """Seconds on a clock of its own, which in a replay goes as it went then."""
        return self._recording.clock if self._recording else time.monotonic()

    def report(self) -> dict[str, Any]:
        """Which model it was, what its server held to, and what was spent."""
        return {"model": self._body["model"], "tier": str(self.tier or "unknown"), **self.spent.report()}

    def close(self) -> None:
        if not self._recording:
            self._connection.close()

    def _connect(self) -> Any:
        # A local server needs no key, but the package insists on one and would else take it from the environment.
        return self._openai.OpenAI(base_url=self._url, api_key=self._key or "none", max_retries=0)

    def _probed(self, deadline: float) -> Tier:
        """The strictest form that the server holds to, against a prompt that asks for the opposite."""
        for tier in (Tier.SCHEMA, Tier.OBJECT):
            try:
                reply = self._patiently(_PROBE, _form(tier, "probe", _COLOURS), deadline, "probe")
            except EndpointError as error:
                if error.status not in _REFUSALS:
                    raise
                continue
            if _holds(tier, strip_thoughts(reply.text)):
                return tier
        return Tier.PROMPT

    def _patiently(self, messages: Sequence[Message], more: dict[str, Any], deadline: float, note: str = "") -> Reply:
        """An exchange; again after a pause, where a failure may pass and there is time left."""
        for number in range(self._retries + 1):
            try:
                return self._exchange(messages, more, deadline - self.now(), note)
            except EndpointError as error:
                pause = self._pause * 2**number if error.after is None else error.after
                if not error.passing or number == self._retries or self.now() + pause >= deadline:
                    raise
                self._wait(pause)
        raise ValueError(f"retries: got {self._retries}, expected 0 or more")

    def _wait(self, seconds: float) -> None:
        if self._recording:
            self._recording.clock += seconds
        else:
            time.sleep(seconds)

    def _exchange(self, messages: Sequence[Message], more: dict[str, Any], seconds: float, note: str) -> Reply:
        self._afford()
        body = {**self._body, "messages": list(messages), **more}
        record: dict[str, Any] = {"time": time.time(), "note": note, "request": body}
        clock, reply = time.perf_counter(), None
        try:
            reply = self._recording.answer(body) if self._recording else self._read(self._send(body, seconds))
            record["response"] = asdict(reply)
            return reply
        except PlanError as error:
            record["error"] = error_record(error)
            raise
        finally:
            took = self._recording.seconds if self._recording else time.perf_counter() - clock
            record["seconds"] = round(took, 3)
            self.spent.add(took, reply)
            if "response" in record or "error" in record:  # not where it was interrupted
                self._write(record)

    def _afford(self) -> None:
        """Refuse a call that the budget does not allow."""
        tokens = self.spent.prompt_tokens + self.spent.completion_tokens
        for what, spent, most in (("calls", self.spent.calls, self._budget.calls), ("tokens", tokens, self._budget.tokens)):
            if most and spent >= most:
                fix = f"raise --budget-{what}, or ask for fewer episodes"
                raise PlanError(Fault(Failure.LIMIT, self._where(), f"{spent} {what} spent", f"at most {most}", fix))

    def _send(self, body: dict[str, Any], seconds: float) -> Any:
        """The answer within so many seconds in all: the package's own timeout starts anew with every byte that trickles in."""
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        connection = self._connection

        def work() -> None:
            try:
                answers.put(connection.chat.completions.create(**body, timeout=seconds))
            except Exception as error:  # all of them are classed below
                answers.put(error)

        if seconds <= 0:
            raise self._timeout(seconds)
        threading.Thread(target=work, daemon=True).start()
        try:
            answer = answers.get(timeout=seconds)
        except queue.Empty:
            connection.close()
            self._connection = self._connect()
            raise self._timeout(seconds) from None
        if isinstance(answer, Exception):
            raise self._classed(answer, seconds) from None
        return answer

    def _timeout(self, seconds: float) -> PlanError:
        got = f"no answer in {seconds:.1f} s" if seconds > 0 else "no time left for another try"
        return PlanError(Fault(Failure.TIMEOUT, self._where(), got, "an answer in time", "raise timeout, or use a faster model"))

    def _classed(self, error: Exception, seconds: float) -> PlanError:
        if isinstance(error, self._openai.APITimeoutError):
            return self._timeout(seconds)
        if isinstance(error, self._openai.APIStatusError):
            status = error.status_code
            said = error.message.removeprefix(f"Error code: {status} - ")[:300]
            passing, after = status in (408, 425, 429) or status >= 500, _seconds(error.response.headers.get("retry-after"))
            return self._endpoint(f"HTTP {status}: {said}", _FIXES.get(status, "see the server's own log"), status, passing, after)
        if isinstance(error, self._openai.APIConnectionError):
            begun = type(error.__cause__).__name__ not in ("ConnectError", "NoneType")  # and cut short
            return self._endpoint(f"no connection ({error.__cause__ or error})", "start the server, or correct base_url", passing=begun)
        return self._endpoint(f"{type(error).__name__}: {error}", "check that base_url is that of an OpenAI-compatible server")

    def _endpoint(self, got: str, fix: str, status: int | None = None, passing: bool = False, after: float | None = None) -> EndpointError:
        return EndpointError(Fault(Failure.ENDPOINT, self._where(), self._hidden(got), "a chat completion", fix), status, passing, after)

    def _read(self, answer: Any) -> Reply:
        """The first choice. The package checks no types, so nothing is taken for granted."""
        try:
            choice = answer.choices[0]
            text, reason = choice.message.content, choice.finish_reason
        except (AttributeError, IndexError, TypeError, KeyError):
            got = f"{answer!s:.200}"
            raise self._endpoint(got, "check that base_url is that of an OpenAI-compatible server") from None
        counts = {name: getattr(getattr(answer, "usage", None), name, None) for name in ("prompt_tokens", "completion_tokens")}
        return Reply(text if isinstance(text, str) else "", str(reason), {k: v for k, v in counts.items() if isinstance(v, int)})

    def _where(self) -> str:
        """The endpoint, without a password that its address may carry."""
        return f"the endpoint {re.sub('//[^/@]*@', '//', self._url)}"

    def _hidden(self, text: str) -> str:
        """The text without the key; a shorter one is a placeholder, and may be part of any word."""
        return text.replace(self._key, "(api_key)") if self._key and len(self._key) >= 8 else text

    def _write(self, record: dict[str, Any]) -> None:
        if self._log:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("a", encoding="utf-8") as file:
                file.write(self._hidden(json.dumps(record)) + "\n")


def _form(tier: Tier, name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The request's fields that ask for it."""
    if tier is Tier.PROMPT:
        return {}
    more = {"json_schema": {"name": name, "strict": True, "schema": schema}} if tier is Tier.SCHEMA else {}
    return {"response_format": {"type": str(tier), **more}}


def _holds(tier: Tier, text: str) -> bool:
    """Whether the probe's answer is what the form asks for."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and (tier is Tier.OBJECT or found in ({"colour": "red"}, {"colour": "green"}))


def _seconds(text: str | None) -> float | None:
    """The header Retry-After, where it is a number; a date is left to our own pause."""
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if found >= 0 else None


# --- record and replay --------------------------------------------------------------------------------------------


def error_record(error: PlanError) -> dict[str, Any]:
    """A failed exchange, as `Recording` reads it."""
    known = {"status": error.status, "passing": error.passing, "after": error.after} if isinstance(error, EndpointError) else {}
    return {**asdict(error.fault), **known}


class Recording:
    """A log's exchanges, by what was asked: the same question gets the same answers in the same order.

    `seconds`: of the last one; `clock`: seconds since the beginning, as they were then.
    """

    def __init__(self, path: Path):
        self._path, self.seconds, self.clock = path, 0.0, 0.0
        self._answers: dict[str, deque[dict[str, Any]]] = {}
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                record = json.loads(line)
                self._answers.setdefault(_asked(record["request"]), deque()).append(record)
                self._told(record)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PalaestraError(f"{path}: got {error!r}, expected a log of an endpoint. Fix: one that --planner openai wrote") from None

    def answer(self, body: dict[str, Any]) -> Reply:
        """What came back then. Raises PlanError: what went wrong then, or endpoint, where this was never asked."""
        left, self.seconds = self._answers.get(_asked(body)), 0.0
        if not left:
            fix = "replay the same command as was recorded, or ask the endpoint itself"
            raise PlanError(Fault(Failure.ENDPOINT, str(self._path), "no such question", "one that was recorded", fix))
        record = left.popleft()
        self.seconds = float(record["seconds"])
        self.clock += self.seconds
        told = self._told(record)
        if isinstance(told, PlanError):
            raise told
        return told

    def _told(self, record: dict[str, Any]) -> Reply | PlanError:
        if "response" in record:
            return Reply(**record["response"])
        error = dict(record["error"])
        more = {name: error.pop(name) for name in ("status", "passing", "after") if name in error}
        fault = Fault(**{**error, "failure": Failure(error["failure"])})
        return EndpointError(fault, **more) if more else PlanError(fault)


def _asked(body: dict[str, Any]) -> str:
    return json.dumps(body, sort_keys=True)
