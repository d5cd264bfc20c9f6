"""The one door to the package `openai`: chat completions of any compatible endpoint, with every failure classed and every
exchange logged. What the server sends is only ever read as text."""

import json
import queue
import re
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from palaestra.sim.errors import MissingExtraError
from palaestra.skills.plan import Failure, Fault, PlanError

Message = dict[str, str]  # role, content

_FIXES = {
    400: "read what the server says; it may not know an option of this client",
    401: "pass the right api_key",
    403: "pass an api_key that may use this model",
    404: "check the model's name, and that base_url ends where /chat/completions follows (mostly in /v1)",
    429: "wait, or ask for less",
}


@dataclass(frozen=True)
class Reply:
    """What came back."""

    text: str
    finish_reason: str
    usage: dict[str, int]  # tokens, as far as the server tells


class EndpointError(PlanError):
    """The endpoint did not answer with a chat completion."""

    def __init__(self, fault: Fault, status: int | None = None):
        super().__init__(fault)
        self.status = status  # of HTTP, where there was an answer


class Client:
    """One endpoint and one model.

    Args:
        base_url: where /chat/completions follows, as http://localhost:8080/v1.
        model: its name, as the server knows it.
        api_key: sent to this endpoint only, never logged; no environment variable is read.
        options: further fields of every request, as temperature.
        log: a file to which every exchange is appended, one JSON line each.
    """

    def __init__(self, base_url: str, model: str, api_key: str | None, options: Mapping[str, Any], log: Path | str | None = None):
        try:
            import openai
        except ImportError:
            raise MissingExtraError("the openai planner", "openai", "llm") from None
        self._openai = openai
        self._url, self._key = base_url, api_key
        self._body = {"model": model, **options}
        self._log = Path(log) if log else None
        self._takes_schema = True
        self._connection = self._connect()

    def complete(self, messages: Sequence[Message], schema: dict[str, Any], seconds: float, name: str = "plan") -> Reply:
        """One completion held to a schema of this name, as far as the server can; raises PlanError (endpoint or timeout).

        A server that refuses `response_format` is asked once more without, and from then on.
        """
        deadline = time.monotonic() + seconds
        if self._takes_schema:
            form = {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}
            try:
                return self._exchange(messages, {"response_format": form}, seconds)
            except EndpointError as error:
                if error.status not in (400, 422):
                    raise
        note = "without response_format, which the server refused"
        reply = self._exchange(messages, {}, deadline - time.monotonic(), note)
        if self._takes_schema:
            self._takes_schema = False
            warnings.warn(f"{self._where()} refuses response_format; the schema is not enforced, only asked for and checked", stacklevel=2)
        return reply

    def close(self) -> None:
        self._connection.close()

    def _connect(self) -> Any:
        # A local server needs no key, but the package insists on one and would else take it from the environment.
        return self._openai.OpenAI(base_url=self._url, api_key=self._key or "none", max_retries=0)

    def _exchange(self, messages: Sequence[Message], more: dict[str, Any], seconds: float, note: str = "") -> Reply:
        body = {**self._body, "messages": list(messages), **more}
        record: dict[str, Any] = {"time": time.time(), "note": note, "request": body}
        clock = time.perf_counter()
        try:
            reply = self._read(self._send(body, seconds))
            record["response"] = asdict(reply)
            return reply
        except PlanError as error:
            record["error"] = str(error)
            raise
        finally:
            record["seconds"] = round(time.perf_counter() - clock, 3)
            self._write(record)

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
            return self._endpoint(f"HTTP {status}: {said}", _FIXES.get(status, "see the server's own log"), status)
        if isinstance(error, self._openai.APIConnectionError):
            return self._endpoint(f"no connection ({error.__cause__ or error})", "start the server, or correct base_url")
        return self._endpoint(f"{type(error).__name__}: {error}", "check that base_url is that of an OpenAI-compatible server")

    def _endpoint(self, got: str, fix: str, status: int | None = None) -> EndpointError:
        fault = Fault(Failure.ENDPOINT, self._where(), self._hidden(got), "a chat completion", fix)
        return EndpointError(fault, status)

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
