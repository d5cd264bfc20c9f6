"""A chat completions endpoint on this machine that does as it is told, well or badly.

The client's probe is answered apart, so that scripts and `requests` are about what follows it.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[["Handler", dict[str, Any]], None]  # answers one request, given its body


class Handler(BaseHTTPRequestHandler):
    """Answers the n-th request by the n-th behaviour, and the last one from then on."""

    server: "Server"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        probe = "plum" in body["messages"][0]["content"]
        script, seen = (self.server.probed, self.server.probes) if probe else (self.server.script, self.server.requests)
        number = len(seen)
        seen.append({"path": self.path, "key": self.headers["Authorization"], "body": body})
        with suppress(ConnectionError):  # the client has hung up
            script[min(number, len(script) - 1)](self, body)

    def send(self, text: str, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        data = text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, script: Sequence[Behaviour], probed: Sequence[Behaviour]):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.requests = script, list[dict[str, Any]]()
        self.probed, self.probes = probed, list[dict[str, Any]]()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def serve(*script: Behaviour, probed: Sequence[Behaviour] = ()) -> Iterator[Server]:
    """A server of this script; `probed`: how it answers probes, as one that holds to schemas without it."""
    server = Server(script, probed or (says('{"colour": "red"}'),))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def completion(text: str | None, finish_reason: str = "stop") -> str:
    """The body of an answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 700, "completion_tokens": 50, "total_tokens": 750}
    return json.dumps({"id": "1", "object": "chat.completion", "created": 0, "model": "fake", "choices": [choice], "usage": usage})


# --- behaviours ---------------------------------------------------------------------------------------------------


def says(text: str | None, finish_reason: str = "stop") -> Behaviour:
    """A well-formed completion with this content, whatever was asked for."""
    return lambda handler, body: handler.send(completion(text, finish_reason))


def plans(*steps: tuple[str, dict[str, str]]) -> Behaviour:
    """A completion whose content is a plan of these steps."""
    return says(json.dumps({"steps": [{"skill": skill, "args": args} for skill, args in steps]}))


def raw(text: str, status: int = 200, kind: str = "application/json") -> Behaviour:
    """This body, whatever it is."""
    return lambda handler, body: handler.send(text, status, kind)


def error(status: int, message: str = "no", **headers: str) -> Behaviour:
    text = json.dumps({"error": {"message": message, "type": "error", "code": status}})
    return lambda handler, body: handler.send(text, status, **headers)


def obeys_words(handler: Handler, body: dict[str, Any]) -> None:
    """Answers the probe as the prompt says, whatever schema came with it."""
    handler.send(completion("purple"))


def refuses(*forms: str) -> Behaviour:
    """Answers the probe, but for these kinds of response_format, which it refuses; a JSON object where it takes that."""

    def behave(handler: Handler, body: dict[str, Any]) -> None:
        form = body.get("response_format", {}).get("type", "")
        (error(400, f"{form} is not supported") if form in forms else says('{"colour": "purple"}'))(handler, body)

    return behave


def without_response_format(then: Behaviour) -> Behaviour:
    """Refuses response_format with 400, as servers without structured output do."""

    def behave(handler: Handler, body: dict[str, Any]) -> None:
        refuse = error(400, "response_format is not supported")
        (refuse if "response_format" in body else then)(handler, body)

    return behave


def hangs(seconds: float) -> Behaviour:
    return lambda handler, body: (handler.server.closing.wait(seconds), None)[1]


def drips(handler: Handler, body: dict[str, Any]) -> None:
    """Sends a byte now and then, for ever."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.server.closing.is_set():
        handler.wfile.write(b" ")
        time.sleep(0.05)


def hangs_up(handler: Handler, body: dict[str, Any]) -> None:
    """Closes the connection in the middle of the body."""
    text = completion('{"steps": []}').encode()
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text[: len(text) // 2])
    handler.wfile.flush()
    handler.close_connection = True
