"""The Celery example: workers that are killed while they send, and retries."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

import pytest

from amiclient import ACCEPTED, FAILED, NOT_SENT, UNKNOWN
from amiclient.loopback import LoopbackServer, refuse
from amiclient.loopback.script import Handler, HandlerResult
from amiproto import SHUTTING_DOWN, Action, parse_message_send
from tests.faults import Direction, Proxy
from tests.readme import ROOT

_THOROUGH = bool(os.environ.get("AMICLIENT_THOROUGH"))
_COUNT, _KILLS = (1500, 6) if _THOROUGH else (200, 2)


def _missing() -> str:
    for name in ("celery", "redis"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed"
    return "" if shutil.which("redis-server") else "redis-server is not installed"


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(_missing()), reason=_missing()),
    pytest.mark.filterwarnings("ignore"),  # those of Celery and its dependencies
]


def _unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture(autouse=True)
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    port = _unused_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{port}/0")
            yield
        finally:
            process.terminate()


def _example(monkeypatch: pytest.MonkeyPatch, *urls: str) -> Any:
    """Import the example with these servers in its environment."""
    monkeypatch.setenv("VISIBILITY_TIMEOUT", "5")
    monkeypatch.setenv("AMI_URLS", " ".join(urls))
    monkeypatch.delitem(sys.modules, "tests.examples.celery_app", raising=False)
    return importlib.import_module("tests.examples.celery_app")


@contextmanager
def _worker(folder: Path, *urls: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = [
        sys.executable, "-m", "celery", "-A", "tests.examples.celery_app", "worker",
        "--pool", "prefork", "--concurrency", "2", "--loglevel", "WARNING",
        "--without-gossip", "--without-mingle",
    ]  # fmt: skip
    environment = {**os.environ, "AMI_URLS": " ".join(urls), "C_FORCE_ROOT": "1"}
    environment["PYTHONPATH"] = str(ROOT)
    with (folder / "worker.log").open("ab") as log, subprocess.Popen(
        command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _wait_for(count: int, current: Callable[[], int], seconds: float) -> int:
    end = time.monotonic() + seconds
    while current() < count and time.monotonic() < end:
        time.sleep(0.05)
    return current()


def _message(number: int) -> Tuple[Dict[str, str], str, Optional[str]]:
    """Return a message, and the outcome and error that it will have."""
    message = {"to": "pjsip:alice", "body": f"message {number}"}
    if number % 20 == 7:
        return {**message, "body": "x" * 2000}, NOT_SENT, "BodyTooLong"
    if number % 20 == 3:
        return {**message, "to": "pjsip:nobody"}, FAILED, "ActionFailed"
    if number % 20 == 11:
        return {**message, "to": "pjsip:absent"}, ACCEPTED, None
    return message, ACCEPTED, None


def _handler() -> Handler:
    """Return a handler that accepts messages to pjsip:absent at the second attempt."""
    seen: Set[bytes] = set()

    def handler(action: Action) -> HandlerResult:
        message = parse_message_send(action)
        if message.to == "pjsip:nobody":
            return refuse("Permission denied")(action)
        if message.to == "pjsip:absent" and message.body not in seen:
            seen.add(message.body)
            return refuse()(action)
        return None

    return handler


def _kill_process_of_pool(worker: "subprocess.Popen[bytes]") -> None:
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children")
    assert _wait_for(1, lambda: len(children.read_text().split()), 20.0)
    os.kill(int(children.read_text().split()[0]), signal.SIGKILL)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_killed_workers_send_no_message_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unavailable = f"ami://loopback:loopback@127.0.0.1:{_unused_port()}"
    messages = [_message(number) for number in range(_COUNT)]
    # Slow responses, so that workers are killed with messages in flight.
    with LoopbackServer(handlers={"MessageSend": _handler()}) as server, Proxy(
        server.port, down=Direction(pause=0.01)
    ) as slow, ExitStack() as stack:
        urls = unavailable, f"ami://loopback:loopback@127.0.0.1:{slow.port}"
        example = _example(monkeypatch, unavailable)
        tasks = [example.send.delay(**message) for message, *_ in messages]

        def ended() -> int:
            return sum(task.ready() for task in tasks)

        workers = [stack.enter_context(_worker(tmp_path, *urls)) for _ in range(2)]
        for kill in range(_KILLS):
            wanted = _COUNT * (kill + 1) // (_KILLS + 2)
            assert _wait_for(wanted, ended, 60.0) >= wanted, (tmp_path / "worker.log").read_text()
            os.killpg(workers[0].pid, signal.SIGKILL)
            _kill_process_of_pool(workers[1])
            workers = [workers[1], stack.enter_context(_worker(tmp_path, *urls))]
        _wait_for(_COUNT, ended, 20.0)
        results: List[Optional[Dict[str, Any]]] = [None] * _COUNT
        end = time.monotonic() + 90.0
        while None in results:
            assert time.monotonic() < end, (tmp_path / "worker.log").read_text()
            time.sleep(1.0)
            results = [
                example.settle(task.id, message) for task, (message, *_) in zip(tasks, messages)
            ]
        tasks.clear()  # Each task waits for Redis when it is freed.
    received = [message.text for message in server.messages]
    assert len(received) == len(set(received))
    outcomes = [result["outcome"] for result in results if result]
    # Each round kills three processes.
    assert outcomes.count(UNKNOWN) <= 3 * _KILLS
    for result, (message, *expected) in zip(results, messages):
        assert result is not None
        if result["outcome"] != UNKNOWN:
            assert [result["outcome"], result["error"]] == expected
            assert (message["body"] in received) == (result["outcome"] == ACCEPTED)


def test_task_is_retried_until_a_server_accepts_the_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with LoopbackServer() as server:
        server.script(refuse(SHUTTING_DOWN), refuse(SHUTTING_DOWN))
        send = _example(monkeypatch, server.url).send
        result = send.apply(kwargs={"to": "pjsip:alice", "body": "x"}).result
        assert result["outcome"] == ACCEPTED and len(server.messages) == 1
        assert len(server.actions) == 3
    send.max_retries = 1
    result = send.apply(kwargs={"to": "pjsip:alice", "body": "x"}).result
    assert (result["outcome"], result["retryable"]) == (NOT_SENT, True)
    assert json.loads(json.dumps(result)) == result
