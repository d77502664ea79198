"""Batches: every line of the input is in the output once, in order, with what became of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from amiclient.command import batch as progress
from amiclient.command import records as source
from amiclient.loopback import LoopbackServer
from tests.command.shell import (
    Runner,
    Screen,
    command,
    environment,
    one_line,
    signal_here,
)
from tests.faults import Direction, Proxy, start_thread
from tests.peer import Peer
from tests.readme import ROOT
from tests.script import (
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

needs_signals = pytest.mark.skipif(os.name != "posix", reason="needs signals and pipes")


def lines_of(out: str) -> List[Dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def batch(path: Path, count: int) -> str:
    rows = [{"to": "pjsip:alice", "body": f"number {n}", "id": n} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_each_line_comes_out_with_what_became_of_it(
    run: Runner, server: LoopbackServer, tmp_path: Path
) -> None:
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
    results = lines_of(out)
    assert code == 65
    words = [
        None, "technology not found", "line 4: InvalidAddress", "line 5: LocalProtocolError: this",
        "LocalProtocolError: this is no JSON object; write one in each line", "NaN", "too large",
        "twice", "not UTF-8", "no JSON", "'body'", "'to'",
        "'body' is no text", "'variables' is no", "'variables' is no", "'variables' is no",
        "'variables' is no", "write 'variables'", "write 'from'", None,
    ]  # fmt: skip
    assert len(results) == len(words)
    for result, word in zip(results, words):
        assert result["retryable"] is False
        assert result["outcome"] == (
            "accepted" if word is None else "failed" if "tech" in word else "not_sent"
        )
        assert result["error"] is None if word is None else word in result["error"]
    assert results[0]["id"] == 1.5 and results[0]["mine"] is None
    assert results[3]["input"] == "nonsense\n"
    first, last = server.messages
    assert [first.action_id, last.action_id] == [results[0]["action_id"], results[-1]["action_id"]]
    assert (last.text, last.from_, last.variables, last.destination) == (
        "y\nz", "sip:b@c.d", (("X-A", "b"),), "pjsip:c",
    )  # fmt: skip
    assert err.startswith("amisend: 20 lines: 2 accepted, 1 refused, 17 not sent (")
    # What comes out is what may go in.
    path.write_text(out)
    select_for_retry = lines_of(run.logged_in(server.port, "--batch", str(path))[1])
    assert [{**old, "action_id": 0, "error": 0} for old in results] == [
        {**new, "action_id": 0, "error": 0} for new in select_for_retry
    ]


def test_options_stand_in_for_what_a_line_lacks(
    run: Runner, server: LoopbackServer, tmp_path: Path
) -> None:
    path = tmp_path / "in"
    path.write_text('{"to": "sip:a@e.org"}\n{"to": "sip:b@e.org", "body": "mine"}\n')
    code, out, err = run.logged_in(
        server.port, "--batch", str(path), "--body", "all", "--variable", "X-A=b", "--from",
        "sip:d", "--destination", "pjsip:e",
    )  # fmt: skip
    assert code == 0, out
    assert [(m.text, m.variables, m.from_, m.destination) for m in server.messages] == [
        (text, (("X-A", "b"),), "sip:d", "pjsip:e") for text in ("all", "mine")
    ]
    assert lines_of(out)[0].keys() == {"to", "outcome", "retryable", "action_id", "error"}


def test_csv(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    path = tmp_path / "in.CSV"
    path.write_bytes(
        b"\xef\xbb\xbfto,body,from,variable: X-Door,id\r\n"
        b'pjsip:a,"two\nlines, ""quoted""",,front,1\r\n'
        b"\r\n"
        b"pjsip:b,,sip:d,,2\r\n"
        b"pjsip:c,short row\r\n"
        b'pjsip:d,"x"y,,,\r\n'
        b"pjsip:\xff,y,,,\r\n"
        b"pjsip:e,last,sip:d,,\n"
    )
    code, out, err = run.logged_in(server.port, "--batch", str(path))
    assert code == 65
    results = lines_of(out)
    errors = [result.pop("error") for result in results]
    for error, words in zip(
        errors, (None, "line 5: ", "2 cells", "line 7: LocalProtocolError: this is no row", "UTF-8")
    ):
        assert error is None if words is None else words in error
    assert [result.pop("outcome") for result in results] == [
        "accepted", "not_sent", "not_sent", "not_sent", "not_sent", "accepted",
    ]  # fmt: skip
    assert results[0]["variables"] == {"X-Door": "front"} and results[0]["id"] == "1"
    assert results[2]["input"] == "pjsip:c,short row\r\n"
    assert [message.text for message in server.messages] == ['two\nlines, "quoted"', "last"]
    assert server.messages[1].from_ == "sip:d"


@pytest.mark.parametrize("header", ["to,body,to\n", 'to,"bo"dy\n'])
def test_csv_whose_first_line_is_wrong(
    run: Runner, server: LoopbackServer, tmp_path: Path, header: str
) -> None:
    path = tmp_path / "in"
    path.write_text(header + "a,b,c\n")
    code, out, err = run.logged_in(server.port, "--batch", str(path), "--csv")
    one_line(code, 65, err, "line 1: ")
    assert out == ""


def test_retry_takes_what_may_go_again(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    path = tmp_path / "out"
    rows: List[Dict[str, Any]] = [
        {"to": "pjsip:a", "body": str(number), "outcome": outcome, "retryable": retryable}
        for number, (outcome, retryable) in enumerate(
            [("accepted", False), ("not_sent", True), ("not_sent", False), ("unknown", True),
             ("failed", True), ("failed", False), ("not_sent", "yes")]  # fmt: skip
        )
    ]
    path.write_text(
        "".join(json.dumps(row) + "\n" for row in rows) + '{"to": "pjsip:a", "body": "new"}\n{"to'
    )
    code, out, err = run.logged_in(server.port, "--retry", str(path))
    assert code == 65
    assert [message.text for message in server.messages] == ["1", "4"]
    results = lines_of(out)
    assert [result["outcome"] for result in results] == ["accepted"] * 2 + ["not_sent"] * 2
    assert results[2]["error"].endswith(": it has no 'outcome'; give this file to --batch")
    assert results[3]["input"] == '{"to'
    assert ", 5 passed over (" in err


def test_a_dry_run_of_a_batch(run: Runner, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text('{"to": "pjsip:a", "body": "x"}\n{"to": "", "body": "x"}\n')
    code, out, err = run("--batch", str(path), "--dry-run")
    one_line(code, 65, err, "line 2: ")
    assert out.count("Action: MessageSend") == 1


def test_a_batch_to_the_server_inside(run: Runner, tmp_path: Path) -> None:
    code, out, err = run("--batch", batch(tmp_path / "in", 3), "--loopback", "--quiet")
    assert (code, err) == (0, "")
    assert [line["outcome"] for line in lines_of(out)] == ["accepted"] * 3


def test_a_server_that_dies_half_way_and_retries(
    run: Runner, server: LoopbackServer, tmp_path: Path
) -> None:
    count = 400
    path = Path(batch(tmp_path / "0", count))
    told: List[Any] = []
    for attempt in range(20):
        # Cut in the middle of what the client sends, so that some is lost on the way.
        with Proxy(server.port, up=Direction(cut=4_000 if attempt < 4 else None)) as proxy:
            option = "--retry" if attempt else "--batch"
            code, out, err = run.logged_in(proxy.port, option, str(path))
        results = lines_of(out)
        told += [line["id"] for line in results if line["outcome"] in ("accepted", "unknown")]
        select_for_retry = [line["id"] for line in results if line["outcome"] == "not_sent"]
        assert sorted(told + select_for_retry) == list(range(count))
        assert all(line["retryable"] for line in results if line["outcome"] == "not_sent")
        path = tmp_path / str(attempt + 1)
        path.write_text(out)
        if not select_for_retry:
            break
        assert code == 74
    assert code == 0 and attempt == 4
    arrived = Counter(message.text for message in server.messages)
    assert max(arrived.values()) == 1  # nothing twice
    assert {text for text in arrived} <= {f"number {number}" for number in told}


def test_no_server_leaves_every_line_not_sent(run: Runner, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    path = tmp_path / "in"
    path.write_text('{"to": "pjsip:a", "body": "x"}\n{"to": "", "body": "x"}\n' * 2)
    code, out, err = run.logged_in(port, "--batch", str(path))
    assert code == 75
    results = lines_of(out)
    assert [(line["outcome"], line["retryable"]) for line in results] == [
        ("not_sent", True), ("not_sent", False),
    ] * 2  # fmt: skip
    assert all("ConnectError: nothing accepts" in line["error"] for line in results[::2])
    assert err.splitlines()[0].startswith("amisend: --port: nothing accepts connections")
    assert "4 not sent, 2 may go again" in err


def test_a_wrong_set_up_reads_nothing(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    code, out, err = run(
        "--batch", batch(tmp_path / "in", 3), AMI_PORT=str(server.port), AMI_USERNAME="eve",
        AMI_SECRET="x",
    )  # fmt: skip
    one_line(code, 77, err)
    assert out == ""


def test_input_that_cannot_be_read(
    run: Runner, server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run.logged_in(server.port, "--batch", str(tmp_path / "missing"))
    one_line(code, 66, err, "missing")
    code, out, err = run.logged_in(server.port, "--batch", str(tmp_path))
    one_line(code, 66, err, "the input cannot be read")
    monkeypatch.setattr(sys, "stdin", None)
    code, out, err = run.logged_in(server.port, "--batch", "-")
    one_line(code, 66, err, "standard input is closed")


def test_a_line_that_is_too_long(
    run: Runner, server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for end in ("\n", ""):
        path = tmp_path / "in"
        long = '{"to": "pjsip:a", "body": "' + "x" * (3 * source.MAX_LINE) + '"}'
        good = '{"to": "pjsip:a", "body": "x"}\n'
        path.write_text(good + long + "\n" + good + long + end)
        code, out, err = run.logged_in(server.port, "--batch", str(path))
        assert code == 65
        assert [line["outcome"] for line in lines_of(out)] == ["accepted", "not_sent"] * 2
        assert len(lines_of(out)[1]["input"]) == source.MAX_LINE + 1


def test_where_input_cannot_be_waited_for(
    run: Runner, server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_CAN_WAIT", False)
    code, out, err = run.logged_in(server.port, "--batch", batch(tmp_path / "in", 3))
    assert code == 0 and len(lines_of(out)) == 3


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The end to write to of what is standard input."""
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        try:
            yield writing
        finally:
            try:
                os.close(writing)
            except OSError:
                pass  # a test has closed it


@needs_signals
def test_a_slow_pipe_is_sent_as_it_comes(run: Runner, server: LoopbackServer, pipe: int) -> None:
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
    assert code == 0 and seen == [1, 2, 3] and len(lines_of(out)) == 3


@needs_signals
@pytest.mark.parametrize(
    ("step", "outcome", "code"), [(accept, "accepted", 75), (read, "unknown", 74)]
)
def test_the_connection_ends_while_a_pipe_is_silent(
    run: Runner, pipe: int, step: Step, outcome: str, code: int
) -> None:
    def release(peer: Peer) -> None:
        os.write(pipe, b'{"to": "pjsip:a", "body": "2"}\n{"to": "", "body": "3"}\n')
        os.close(pipe)

    os.write(pipe, b'{"to": "pjsip:a", "body": "1"}\n')
    with Script(log_in, step, close, pause(0.05), release) as script:
        ended, out, err = run.logged_in(script.port, "--batch", "-")
    assert ended == code
    assert [(line["outcome"], line["retryable"]) for line in lines_of(out)] == [
        (outcome, False), ("not_sent", True), ("not_sent", False),
    ]  # fmt: skip


@needs_signals
@pytest.mark.parametrize(
    "signum, code, word", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_leaves_every_line_accounted_for(
    run: Runner, tmp_path: Path, signum: signal.Signals, code: int, word: str
) -> None:
    count = 100
    before = signal.getsignal(signum)
    with Script(log_in, repeat(39, accept), read, signal_here(signum), accept_all) as script:
        ended, out, err = run.logged_in(script.port, "--batch", batch(tmp_path / "in", count))
    assert ended == code
    results = lines_of(out)
    assert [line["id"] for line in results] == list(range(count))
    sent = [line for line in results if line["outcome"] == "accepted"]
    rest = results[len(sent) :]
    arrived = [action["Body"] for action in script.actions]
    assert 40 <= len(sent) == len(arrived) < count
    assert all((line["outcome"], line["retryable"]) == ("not_sent", True) for line in rest)
    assert f"NotSent: the command was {word}" in rest[0]["error"]
    assert err.splitlines()[-1] == f"amisend: {word}"
    assert signal.getsignal(signum) == before


@needs_signals
def test_a_signal_while_a_pipe_is_silent(
    run: Runner, server: LoopbackServer, pipe: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_GRACE", 0.05)
    os.write(pipe, b'{"to": "pjsip:a", "body": "1"}\n')

    def interrupt() -> None:
        while not server.messages:
            time.sleep(0.01)
        time.sleep(0.05)
        os.write(pipe, b'{"to": "pjsip:a", "body": "2"')  # and never its end
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = start_thread(interrupt)
    code, out, err = run.logged_in(server.port, "--batch", "-")
    thread.join()
    assert code == 143
    assert [line["outcome"] for line in lines_of(out)] == ["accepted", "not_sent"]


@needs_signals
def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    def terminate(peer: Peer) -> None:
        child.send_signal(signal.SIGTERM)

    with Script(log_in, read, hold, terminate, pause(0.3), terminate, read_until_eof) as script:
        child = subprocess.Popen(
            command("--batch", batch(tmp_path / "in", 3)), cwd=ROOT, env=environment(script.port),
            stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        script.release()
        assert child.wait(20) == -signal.SIGTERM


@needs_signals
def test_an_account_that_cannot_be_written_ends_the_batch(
    run: Runner, server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as closed, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", closed)
        code, out, err = run.logged_in(server.port, "--batch", batch(tmp_path / "in", 500))
    assert code == 74
    assert err.splitlines()[0] == "amisend: line 1 and those after it: may have been sent"
    assert len(server.messages) < 100


def shown(terminal: Screen) -> Tuple[List[str], str]:
    """The lines of progress, and what is left on the terminal."""
    *drawn, rest = terminal.getvalue().split("\r\x1b[K")
    return drawn[1:], rest


def test_progress_on_a_terminal(
    run: Runner, server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_PAUSE", 0.0)
    terminal = Screen(is_terminal=True)
    path = batch(tmp_path / "in", 50)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        assert run.logged_in(server.port, "--batch", path)[0] == 0
    drawn, rest = shown(terminal)
    assert len(drawn) == 50 and drawn[9].startswith("10 sent, 0 failed, ")
    assert drawn[9].endswith(" left") and rest.startswith("amisend: 50 lines: 50 accepted (")
    # Not more often than anybody reads; and none at all in a pipe, or where it is not wanted.
    monkeypatch.setattr(progress, "_PAUSE", 60.0)
    for quiet, is_terminal, count in (([], True, 2), (["--quiet"], True, 0), ([], False, 0)):
        stream = Screen(is_terminal)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", stream)
            assert run.logged_in(server.port, "--batch", path, *quiet)[0] == 0
        assert stream.getvalue().count("\r") == count


@needs_signals
def test_progress_of_a_pipe_has_no_time_left(
    run: Runner, server: LoopbackServer, pipe: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.write(pipe, b'{"to": "pjsip:a", "body": "1"}\n')
    os.close(pipe)
    terminal = Screen(is_terminal=True)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        assert run.logged_in(server.port, "--batch", "-")[0] == 0
    drawn, rest = shown(terminal)
    assert len(drawn) == 1 and "left" not in drawn[0]
    assert rest.startswith("amisend: 1 line: 1 accepted (")


def test_nothing_to_send(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    code, out, err = run.logged_in(server.port, "--batch", batch(tmp_path / "in", 0))
    one_line(code, 0, err, "0 lines: nothing to send")
