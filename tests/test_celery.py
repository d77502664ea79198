"""The Celery example: a worker that is killed while it sends, and retries."""

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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

import pytest

from amiclient import ACCEPTED, FAILED, NOT_SENT, UNKNOWN
from amiclient.loopback import LoopbackServer, refuse
from amiproto import SHUTTING_DOWN
from tests.faults import Direction, Proxy
from tests.readme import ROOT

_COUNT = 200


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


def _task(monkeypatch: pytest.MonkeyPatch, *urls: str) -> Any:
    """Import the example with these servers in its environment."""
    monkeypatch.setenv("AMI_URLS", " ".join(urls))
    monkeypatch.delitem(sys.modules, "tests.examples.celery_app", raising=False)
    return importlib.import_module("tests.examples.celery_app").send


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
    message = {"to": "sip:alice", "body": f"message {number}"}
    if number % 20 == 7:
        return {**message, "body": "x" * 2000}, NOT_SENT, "BodyTooLong"
    if number % 20 == 3:
        return {**message, "to": "smoke:signal"}, FAILED, "ActionFailed"
    return message, ACCEPTED, None


def test_killed_worker_sends_no_message_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unavailable = f"ami://loopback:loopback@127.0.0.1:{_unused_port()}"
    messages = [_message(number) for number in range(_COUNT)]
    # Slow responses, so that the worker is killed with messages in flight.
    with LoopbackServer() as first, LoopbackServer() as second, Proxy(
        first.port, down=Direction(pause=0.01)
    ) as slow_first, Proxy(second.port, down=Direction(pause=0.01)) as slow_second:
        urls = [f"ami://loopback:loopback@127.0.0.1:{p.port}" for p in (slow_first, slow_second)]
        send = _task(monkeypatch, unavailable)
        tasks = [send.delay(**message) for message, *_ in messages]

        def count(*states: str) -> int:
            return sum(task.state in states for task in tasks)

        with _worker(tmp_path, unavailable, urls[0]) as worker:
            ended = _wait_for(30, lambda: count("SUCCESS"), 60.0)
            assert ended >= 30, (tmp_path / "worker.log").read_text()
            os.killpg(worker.pid, signal.SIGKILL)
        assert count("SUCCESS") < _COUNT
        with _worker(tmp_path, unavailable, urls[1]):
            # The unacknowledged tasks of the first worker are queued again after five seconds. A
            # worker killed between fetching a task from Redis and recording it loses the task; it
            # has no state then, and may be queued again.
            if _wait_for(_COUNT, lambda: count("SUCCESS", "SENDING"), 8.0) < _COUNT:
                for task, (message, *_) in zip(tasks, messages):
                    if task.state == "PENDING":
                        send.apply_async(kwargs=message, task_id=task.id)
            assert _wait_for(_COUNT, lambda: count("SUCCESS", "SENDING"), 60.0) == _COUNT
            time.sleep(1.0)  # until the tasks that are being sent have ended
            interrupted = [task.state == "SENDING" for task in tasks]
        assert sum(interrupted) <= 2  # the concurrency of the worker
        results = [task.result if task.state == "SUCCESS" else task.info for task in tasks]
        tasks.clear()  # Each task waits for Redis when it is freed.
    received = [message.text for server in (first, second) for message in server.messages]
    assert len(received) == len(set(received))
    assert first.messages and second.messages
    for result, was_interrupted, (message, *expected) in zip(results, interrupted, messages):
        if result["outcome"] == UNKNOWN:
            assert was_interrupted
            continue
        assert [result["outcome"], result["error"]] == expected
        assert result["retryable"] is False
        assert (message["body"] in received) == (result["outcome"] == ACCEPTED)


def test_task_is_retried_until_a_server_accepts_the_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with LoopbackServer() as server:
        server.script(refuse(SHUTTING_DOWN), refuse(SHUTTING_DOWN))
        send = _task(monkeypatch, server.url)
        result = send.apply(kwargs={"to": "sip:alice", "body": "x"}).result
        assert result["outcome"] == ACCEPTED and len(server.messages) == 1
        assert len(server.actions) == 3
    send.max_retries = 1
    result = send.apply(kwargs={"to": "sip:alice", "body": "x"}).result
    assert (result["outcome"], result["retryable"]) == (NOT_SENT, True)
    assert json.loads(json.dumps(result)) == result
