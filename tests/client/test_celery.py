"""A queue with JSON results in front of two servers, and a worker that is killed in the middle."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import pytest

from amiclient import ACCEPTED, FAILED, NOT_SENT, UNKNOWN
from amiclient.loopback import LoopbackServer
from tests.faults import Direction, Proxy
from tests.readme import ROOT

_COUNT = 200


def _missing() -> str:
    for name in ("celery", "redis"):
        if importlib.util.find_spec(name) is None:
            return f"no {name}"
    return "" if shutil.which("redis-server") else "no redis-server"


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(_missing()), reason="needs celery, redis and redis-server"),
]


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()


@contextmanager
def _worker(folder: Path, redis: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = [
        sys.executable, "-m", "celery", "-A", "tests.client.celery_app", "worker",
        "--pool", "prefork", "--concurrency", "2", "--loglevel", "WARNING",
        "--without-gossip", "--without-mingle",
    ]  # fmt: skip
    environment = {**os.environ, "AMICLIENT_TEST_REDIS": redis, "C_FORCE_ROOT": "1"}
    environment["PYTHONPATH"] = str(ROOT)
    with (folder / "worker.log").open("ab") as log, subprocess.Popen(
        command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def _wait_for(count: int, done: Any, seconds: float) -> int:
    end = time.monotonic() + seconds
    while done() < count and time.monotonic() < end:
        time.sleep(0.05)
    return int(done())


@pytest.mark.filterwarnings("ignore")  # those of other people's libraries
def test_a_worker_that_is_killed_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        redis = stack.enter_context(_redis(tmp_path))
        monkeypatch.setenv("AMICLIENT_TEST_REDIS", redis)
        sys.modules.pop("tests.client.celery_app", None)
        from tests.client.celery_app import deliver

        servers = [stack.enter_context(LoopbackServer()) for _ in range(2)]
        # Slow answers, so that the worker dies with messages on their way.
        proxies = [
            stack.enter_context(Proxy(server.port, down=Direction(pause=0.01)))
            for server in servers
        ]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            nobody = listener.getsockname()[1]
        tasks: Dict[str, Any] = {}
        given: Dict[str, Any] = {}
        for number in range(_COUNT):
            body = f"message {number}" + ("x" * 2000 if number % 20 == 7 else "")
            to = "smoke:signal" if number % 20 == 3 else "sip:alice"
            ports: List[int] = [proxies[number % 2].port]
            ports = {5: [nobody, *ports], 6: [nobody]}.get(number % 10, ports)
            given[body] = (to, body, ports)
            tasks[body] = deliver.delay(*given[body])

        def ended() -> int:
            return sum(1 for task in tasks.values() if task.state == "SUCCESS")

        def begun() -> int:
            return sum(1 for task in tasks.values() if task.state in ("SUCCESS", "SENDING"))

        with _worker(tmp_path, redis) as worker:
            assert _wait_for(30, ended, 60.0) >= 30, (tmp_path / "worker.log").read_text()
            os.killpg(worker.pid, signal.SIGKILL)
        at_the_kill = ended()
        assert at_the_kill < _COUNT
        with _worker(tmp_path, redis):
            # Redis's queue can lose a task between the fetching of it and the note of that. It
            # has no state then, and who asks for it is safe to queue it again. Those that it has
            # not lost come back after five seconds.
            if _wait_for(_COUNT, begun, 8.0) < _COUNT:
                for body, task in tasks.items():
                    if task.state == "PENDING":
                        deliver.apply_async(given[body], task_id=task.id)
            assert _wait_for(_COUNT, begun, 60.0) == _COUNT
            time.sleep(1.0)  # those that are being sent now end
            interrupted = {body for body, task in tasks.items() if task.state == "SENDING"}
        assert len(interrupted) <= 2  # a prefork worker of two
        told = {
            body: task.result if task.state == "SUCCESS" else task.info
            for body, task in tasks.items()
        }
        tasks.clear()  # each tells its backend of its end, and would wait long for one that is gone
    came = [message.text for server in servers for message in server.messages]
    assert len(came) == len(set(came)), "a message was sent twice"
    expected: str
    error: Optional[str]
    for number, (body, result) in enumerate(told.items()):
        outcome = result["outcome"]
        if outcome == UNKNOWN:
            assert body in interrupted
            continue
        if number % 20 == 7:
            expected, error = NOT_SENT, "BodyTooLong"
        elif number % 10 == 6:
            expected, error = NOT_SENT, "ConnectError"
        elif number % 20 == 3:
            expected, error = FAILED, "ActionFailed"
        else:
            expected, error = ACCEPTED, None
        assert (outcome, result["error"]) == (expected, error), (body, result)
        assert result["retryable"] is (error == "ConnectError")
        assert (body in came) == (outcome == ACCEPTED)
