"""Batches: each line of the input is in the output once, in order, with its result."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import pytest

from amiclient.command import batch, records
from amiclient.loopback import LoopbackServer
from tests.command.shell import (
    Runner,
    Screen,
    assert_one_line,
    command,
    environment,
    needs_signals,
    send_signal,
)
from tests.faults import Direction, Proxy, start_thread
from tests.readme import ROOT
from tests.script import (
    Peer,
    Script,
    Step,
    accept,
    accept_all,
    close,
    hold,
    log_in,
    pause,
    read,
    read_until_eof,
    repeat,
)

#: A valid and an invalid line.
GOOD = '{"to": "pjsip:a", "body": "x"}\n'
BAD = '{"to": "", "body": "x"}\n'


def results_of(out: str) -> List[Dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def outcomes_of(out: str) -> List[Tuple[str, bool]]:
    return [(result["outcome"], result["retryable"]) for result in results_of(out)]


def write_batch(path: Path, count: int) -> str:
    rows = [{"to": "pjsip:alice", "body": f"number {n}", "id": n} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


# -- Input and output.


def test_result_of_each_line(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"to": "pjsip:a", "body": "x", "id": 1.5, "mine": null, "from": null}\n'
        b"\n"
        b'{"to": "fax:a", "body": ""}\r\n'
        b'{"to": "pjsip:a\\n", "body": "x"}\n'
        b"nonsense\n"
        b"[1]\n"
        b'{"to": "pjsip:a", "body": "x", "n": NaN}\n'
        b'{"to": "pjsip:a", "body": "x", "n": 1e999}\n'
        b'{"to": "pjsip:a", "to": "pjsip:b", "body": "x"}\n'
        b'{"to": "pjsip:a", "body": "\xff"}\n' + b"[" * 100_000 + b"\n"
        b'{"to": "pjsip:a"}\n'
        b'{"body": "x"}\n'
        b'{"to": "pjsip:a", "body": 5}\n'
        b'{"to": "pjsip:a", "body": "x", "variables": {"X-A": 5}}\n'
        b'{"to": "pjsip:a", "body": "x", "variables": "X-A"}\n'
        b'{"to": "pjsip:a", "body": "x", "variables": 7}\n'
        b'{"to": "pjsip:a", "body": "x", "variables": ["XA"]}\n'
        b'{"to": "pjsip:a", "body": "x", "variable": {"X-A": "b"}}\n'
        b'{"to": "pjsip:a", "body": "x", "From": "sip:b"}\n'
        b'{"to": "pjsip:c", "body": "y\\nz", "from": "sip:b@c.d", "variables": [["X-A", "b"]],'
        b' "destination": "pjsip:c", "outcome": "not_sent"}'
    )
    code, out, err = run.logged_in(server.port, "--batch", str(path))
    results = results_of(out)
    assert code == 75  # a technology that is not found may be loaded later
    local = "LocalProtocolError"
    errors: List[Optional[Tuple[int, str, str]]] = [
        None, (3, "ActionFailed", "technology not found"), (4, "InvalidAddress", ""),
        (5, local, "JSON"), (6, local, "JSON"), (7, local, "NaN"), (8, local, "1e999"),
        (9, local, "duplicate"), (10, local, "UTF-8"), (11, local, "JSON"), (12, local, "'body'"),
        (13, local, "'to'"), (14, local, "'body'"), (15, local, "'variables'"),
        (16, local, "'variables'"), (17, local, "'variables'"), (18, local, "'variables'"),
        (19, local, "'variables'"), (20, local, "'from'"), None,
    ]  # fmt: skip
    assert len(results) == len(errors)
    for result, expected in zip(results, errors):
        assert result["retryable"] is (expected is not None and expected[1] == "ActionFailed")
        if expected is None:
            assert result["outcome"] == "accepted" and result["error"] is None
        else:
            number, kind, part = expected
            assert result["outcome"] == ("failed" if kind == "ActionFailed" else "not_sent")
            assert result["error"].startswith(f"line {number}: {kind}: ")
            assert part in result["error"]
    assert results[0]["id"] == 1.5 and results[0]["mine"] is None
    assert results[3]["input"] == "nonsense\n"
    first, last = server.messages
    assert [first.action_id, last.action_id] == [results[0]["action_id"], results[-1]["action_id"]]
    assert (last.text, last.from_, last.variables, last.destination) == (
        "y\nz", "sip:b@c.d", (("X-A", "b"),), "pjsip:c",
    )  # fmt: skip
    assert err.startswith("amisend: 20 lines: 2 accepted, 1 failed, 17 not sent, 1 retryable (")
    # The output is valid input.
    path.write_text(out)
    again = results_of(run.logged_in(server.port, "--batch", str(path))[1])
    assert [{**old, "action_id": 0, "error": 0} for old in results] == [
        {**new, "action_id": 0, "error": 0} for new in again
    ]


def test_options_are_defaults(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text('{"to": "sip:a@e.org", "body": null}\n{"to": "sip:b@e.org", "body": "mine"}\n')
    code, out, err = run.logged_in(
        server.port, "--batch", str(path), "--body", "all", "--variable", "X-A=b", "--from",
        "sip:d", "--destination", "pjsip:e",
    )  # fmt: skip
    assert code == 0, out
    assert [(m.text, m.variables, m.from_, m.destination) for m in server.messages] == [
        (text, (("X-A", "b"),), "sip:d", "pjsip:e") for text in ("all", "mine")
    ]
    assert results_of(out)[0].keys() == {"to", "body", "outcome", "retryable", "action_id", "error"}


def test_csv(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    path = tmp_path / "in.CSV"
    path.write_bytes(
        b"\xef\xbb\xbfto,body,from,variable: X-Door,id\r\n"
        b'pjsip:a,"two\nlines, ""quoted""",,front,1\r\n'
        b"\r\n"
        b"pjsip:b,,sip:d,,2\r\n"
        b"pjsip:c,short row\r\n"
        b'pjsip:d,"x\n"y,,,\r\n'
        b"pjsip:\xff,y,,,\r\n"
        b"pjsip:e,last,sip:d,,\n"
    )
    code, out, err = run.logged_in(server.port, "--batch", str(path))
    assert code == 65
    results = results_of(out)
    assert [(line["outcome"], str(line["error"]).partition(": ")[0]) for line in results] == [
        ("accepted", "None"), ("not_sent", "line 5"), ("not_sent", "line 6"),
        ("not_sent", "line 7"), ("not_sent", "line 9"), ("accepted", "None"),
    ]  # fmt: skip
    assert results[0]["variables"] == {"X-Door": "front"} and results[0]["id"] == "1"
    assert results[2]["input"] == "pjsip:c,short row\r\n"
    assert [message.text for message in server.messages] == ['two\nlines, "quoted"', "last"]
    assert server.messages[1].from_ == "sip:d"


@pytest.mark.parametrize("header", ["to,body,to\n", 'to,"bo"dy\n'])
def test_invalid_csv_header(
    run: Runner, server: LoopbackServer, tmp_path: Path, header: str
) -> None:
    path = tmp_path / "in"
    path.write_text(header + "a,b,c\n")
    result = run.logged_in(server.port, "--batch", str(path), "--csv")
    assert_one_line(result, 65, "line 1: ")
    assert result[1] == ""


def test_retry_sends_retryable_lines(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    path = tmp_path / "out"
    rows: List[Dict[str, Any]] = [
        {"to": "pjsip:a", "body": str(number), "outcome": outcome, "retryable": retryable}
        for number, (outcome, retryable) in enumerate(
            [("accepted", False), ("not_sent", True), ("not_sent", False), ("unknown", True),
             ("failed", True), ("failed", False), ("not_sent", "yes")]  # fmt: skip
        )
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + GOOD + '{"to')
    code, out, err = run.logged_in(server.port, "--retry", str(path))
    assert code == 65
    assert [message.text for message in server.messages] == ["1", "4"]
    results = results_of(out)
    assert [result["outcome"] for result in results] == ["accepted"] * 2 + ["not_sent"] * 2
    assert "'outcome'" in results[2]["error"] and "--batch" in results[2]["error"]
    assert results[3]["input"] == '{"to'
    assert ", 5 skipped (" in err


def test_dry_run(run: Runner, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text(GOOD + BAD)
    result = run("--batch", str(path), "--dry-run")
    assert_one_line(result, 65, "line 2: ")
    assert result[1].count("Action: MessageSend") == 1


@pytest.mark.parametrize("can_wait", [True, False])
def test_loopback(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_wait: bool
) -> None:
    monkeypatch.setattr(records, "CAN_WAIT", can_wait)
    path = write_batch(tmp_path / "in", 3)
    code, out, err = run("--batch", path, "--loopback", "--quiet")
    assert (code, err) == (0, "")
    assert outcomes_of(out) == [("accepted", False)] * 3


def test_empty_input(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    path = write_batch(tmp_path / "in", 0)
    assert_one_line(run.logged_in(server.port, "--batch", path), 0, " 0 lines: ")


def test_many_invalid_lines_in_a_row(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text(GOOD + BAD * 3_000 + GOOD)
    code, out, err = run.logged_in(server.port, "--batch", str(path))
    good = ("accepted", False)
    assert outcomes_of(out) == [good, *[("not_sent", False)] * 3_000, good]


# -- Failures.


def test_unreadable_input(
    run: Runner, server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (tmp_path / "missing", tmp_path):
        assert_one_line(run.logged_in(server.port, "--batch", str(path)), 66)
    monkeypatch.setattr(sys, "stdin", None)
    assert_one_line(run.logged_in(server.port, "--batch", "-"), 66, "standard input")


def test_lines_before_a_read_error_have_results(
    run: Runner, server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_once(descriptor: int, size: int) -> bytes:
        monkeypatch.undo()
        monkeypatch.setattr(os, "read", fail)
        return (GOOD + BAD).encode()

    def fail(descriptor: int, size: int) -> bytes:
        raise OSError("disk error")

    monkeypatch.setattr(os, "read", read_once)
    result = run.logged_in(server.port, "--batch", write_batch(tmp_path / "in", 0))
    assert_one_line(result, 66, "disk error")
    assert outcomes_of(result[1]) == [("accepted", False), ("not_sent", False)]


def test_failed_login_reads_nothing(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    result = run(
        "--batch", write_batch(tmp_path / "in", 3), AMI_PORT=str(server.port), AMI_USERNAME="eve",
        AMI_SECRET="x",
    )  # fmt: skip
    assert_one_line(result, 77)
    assert result[1] == ""


def test_no_server(run: Runner, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    path = tmp_path / "in"
    path.write_text((GOOD + BAD) * 2)
    code, out, err = run.logged_in(port, "--batch", str(path))
    assert code == 75
    assert outcomes_of(out) == [("not_sent", True), ("not_sent", False)] * 2
    assert all(": ConnectError: " in result["error"] for result in results_of(out)[::2])
    assert err.startswith("amisend: --port: ")
    assert "4 not sent, 2 retryable" in err


def test_retries_after_disconnects(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    count = 400
    path = Path(write_batch(tmp_path / "0", count))
    settled: List[Any] = []
    for attempt in range(20):
        # The cut is in the client's output, so that some of it does not arrive.
        with Proxy(server.port, up=Direction(cut=4_000 if attempt < 4 else None)) as proxy:
            option = "--retry" if attempt else "--batch"
            code, out, err = run.logged_in(proxy.port, option, str(path))
        results = results_of(out)
        settled += [line["id"] for line in results if line["outcome"] in ("accepted", "unknown")]
        unsent = [line["id"] for line in results if line["outcome"] == "not_sent"]
        assert sorted(settled + unsent) == list(range(count))
        assert all(line["retryable"] for line in results if line["outcome"] == "not_sent")
        path = tmp_path / str(attempt + 1)
        path.write_text(out)
        if not unsent:
            break
        assert code == 74
    assert code == 0 and attempt == 4
    arrived = Counter(message.text for message in server.messages)
    assert max(arrived.values()) == 1  # nothing twice
    assert set(arrived) <= {f"number {number}" for number in settled}


@needs_signals
def test_output_error_stops_the_batch(
    run: Runner, server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as closed, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", closed)
        code, out, err = run.logged_in(server.port, "--batch", write_batch(tmp_path / "in", 500))
    assert code == 74
    assert err.startswith("amisend: line 1 ")
    assert len(server.messages) < 100


# -- Pipes.


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The write end of a pipe whose read end is standard input."""
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield writing
    with suppress(OSError):  # closed by the test
        os.close(writing)


@needs_signals
def test_slow_pipe_is_sent_at_once(run: Runner, server: LoopbackServer, pipe: int) -> None:
    seen: List[int] = []

    def write() -> None:
        for number in range(3):
            for part in (b'{"to": "pjsip:a",', b' "body": "x"}\n'):
                os.write(pipe, part)
                time.sleep(0.02)
            deadline = time.monotonic() + 10.0
            while len(server.messages) <= number and time.monotonic() < deadline:
                time.sleep(0.01)
            seen.append(len(server.messages))
        os.close(pipe)

    thread = start_thread(write)
    code, out, err = run.logged_in(server.port, "--batch", "-")
    thread.join()
    assert code == 0 and seen == [1, 2, 3] and len(results_of(out)) == 3


@needs_signals
@pytest.mark.parametrize(
    ("step", "outcome", "code"), [(accept, "accepted", 65), (read, "unknown", 74)]
)
def test_disconnect_while_a_pipe_is_silent(
    run: Runner, pipe: int, step: Step, outcome: str, code: int
) -> None:
    def write_more(peer: Peer) -> None:
        if len(script.peers) == 1:  # the second line goes over a new connection
            os.write(pipe, (GOOD + BAD).encode())
            os.close(pipe)

    os.write(pipe, GOOD.encode())
    with Script(log_in, step, close, pause(0.05), write_more) as script:
        ended, out, err = run.logged_in(script.port, "--batch", "-")
    assert ended == code
    assert outcomes_of(out) == [(outcome, False), (outcome, False), ("not_sent", False)]
    assert len(script.peers) >= 2


@needs_signals
def test_server_that_is_gone_when_a_line_arrives(run: Runner, pipe: int) -> None:
    os.write(pipe, GOOD.encode())
    with LoopbackServer() as server:
        port = server.port

        def stop() -> None:
            while not server.messages:
                time.sleep(0.01)
            time.sleep(0.05)
            server.close()
            os.write(pipe, GOOD.encode())
            os.close(pipe)

        thread = start_thread(stop)
        code, out, err = run.logged_in(port, "--batch", "-")
        thread.join()
    assert code == 75 and outcomes_of(out) == [("accepted", False), ("not_sent", True)]


# -- Signals.


@needs_signals
@pytest.mark.parametrize(
    "signum, code, text", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_every_line_has_a_result_after_a_signal(
    run: Runner, tmp_path: Path, signum: signal.Signals, code: int, text: str
) -> None:
    count = 100
    before = signal.getsignal(signum)
    path = write_batch(tmp_path / "in", count)
    with Script(log_in, repeat(39, accept), read, send_signal(signum), accept_all) as script:
        ended, out, err = run.logged_in(script.port, "--batch", path)
    assert ended == code
    results = results_of(out)
    assert [line["id"] for line in results] == list(range(count))
    accepted = [line for line in results if line["outcome"] == "accepted"]
    rest = results[len(accepted) :]
    assert 40 <= len(accepted) == len(script.actions) < count
    assert all((line["outcome"], line["retryable"]) == ("not_sent", True) for line in rest)
    assert "NotSent: " in rest[0]["error"] and text in rest[0]["error"]
    assert err.splitlines()[-1] == f"amisend: {text}"
    assert signal.getsignal(signum) == before


@needs_signals
def test_signal_while_a_pipe_is_silent(
    run: Runner, server: LoopbackServer, pipe: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "GRACE_PERIOD", 0.05)
    os.write(pipe, GOOD.encode())

    def interrupt() -> None:
        while not server.messages:
            time.sleep(0.01)
        time.sleep(0.05)
        os.write(pipe, b'{"to": "pjsip:a", "body": "2"')  # without its end
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = start_thread(interrupt)
    code, out, err = run.logged_in(server.port, "--batch", "-")
    thread.join()
    assert code == 143
    assert [outcome for outcome, _ in outcomes_of(out)] == ["accepted", "not_sent"]


@needs_signals
def test_second_signal_ends_the_process(tmp_path: Path) -> None:
    def terminate(peer: Peer) -> None:
        child.send_signal(signal.SIGTERM)

    with Script(log_in, read, hold, terminate, pause(0.3), terminate, read_until_eof) as script:
        child = subprocess.Popen(
            command("--batch", write_batch(tmp_path / "in", 3)), cwd=ROOT,
            env=environment(script.port), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        script.release()
        assert child.wait(20) == -signal.SIGTERM


def test_progress_on_a_terminal(
    run: Runner, server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_batch(tmp_path / "in", 50)

    def shown(screen: Screen, *options: str) -> List[str]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", screen)
            assert run.logged_in(server.port, "--batch", path, *options)[0] == 0
        return screen.getvalue().split("\r\x1b[K")

    monkeypatch.setattr(batch, "UPDATE_INTERVAL", 0.0)
    texts = shown(Screen(is_terminal=True))
    assert len(texts) == 52 and texts[10].startswith("10 accepted, 0 errors, ")
    assert texts[10].endswith(" remaining") and texts[-1].startswith("amisend: 50 lines: ")
    assert shown(Screen(is_terminal=True), "--quiet") == [""]
    assert len(shown(Screen(is_terminal=False))) == 1
