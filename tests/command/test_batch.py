"""Batches: each line of the input is in the output once, in order, with its result."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest

from amiclient.command import records
from amiclient.loopback import LoopbackServer, refuse
from tests.certificates import OTHER_PEM, server_tls
from tests.command.shell import (
    MESSAGE,
    SIGNALS,
    Runner,
    assert_one_line,
    command,
    environment,
    full_stream,
    needs_full_device,
    needs_signals,
    run_process,
    send_signal,
)
from tests.faults import Direction, Proxy, start_thread
from tests.readme import ROOT
from tests.script import (
    BANNER,
    Script,
    Step,
    accept,
    accept_all,
    close,
    expect_silence,
    log_in,
    read,
    read_until_eof,
    repeat,
    respond,
    send,
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


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileIO]:
    """The write end of a pipe whose read end is standard input."""
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as stdin, FileIO(writing, "wb") as end:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield end


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
    assert code == 75
    errors: List[Optional[Tuple[int, str]]] = [
        None, (3, "technology not found"), (4, "To"), (5, "JSON"), (6, "JSON"), (7, "NaN"),
        (8, "1e999"), (9, "duplicate"), (10, "UTF-8"), (11, "JSON"), (12, "'body'"), (13, "'to'"),
        (14, "body"), (15, "variables"), (16, "variables"), (17, "variables"), (18, "variables"),
        (19, "'variables'"), (20, "'from'"), None,
    ]  # fmt: skip
    assert len(results) == len(errors)
    for result, expected in zip(results, errors):
        is_failed = expected is not None and expected[0] == 3
        assert result["retryable"] is is_failed
        if expected is None:
            assert result["outcome"] == "accepted" and result["error"] is None
        else:
            number, part = expected
            assert result["outcome"] == ("failed" if is_failed else "not_sent")
            assert result["error"].startswith(f"line {number}: ")
            assert part in result["error"]
            assert not re.search("Error|int|bytes|str\\b", result["error"])  # no words of Python
    assert results[0]["id"] == 1.5 and results[0]["mine"] is None
    assert results[3]["input"] == "nonsense\n"
    first, last = server.messages
    assert [first.action_id, last.action_id] == [results[0]["action_id"], results[-1]["action_id"]]
    assert (last.text, last.from_, last.variables, last.destination) == (
        "y\nz", "sip:b@c.d", (("X-A", "b"),), "pjsip:c",
    )  # fmt: skip
    assert err.startswith("amisend: 20 lines: 2 accepted, 1 failed, 17 not sent (")
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


@pytest.mark.parametrize(
    "data",
    [
        # Excel in English, in German and in French, LibreOffice, and text with tabs.
        b'\xef\xbb\xbfto,body,id\r\npjsip:a,"Hello, J\xc3\xb6rg\nline ""2""",1\r\n,,\r\n',
        b'\xef\xbb\xbfto;body;id\r\npjsip:a;"Hello, J\xc3\xb6rg\nline ""2""";1\r\n;;\r\n',
        b'sep=;\r\nto;body;id\r\npjsip:a;"Hello, J\xc3\xb6rg\nline ""2""";1\r\n',
        b'"to","body","id"\n"pjsip:a","Hello, J\xc3\xb6rg\nline ""2""","1"\n',
        b'to\tbody\tid\npjsip:a\t"Hello, J\xc3\xb6rg\nline ""2"""\t1\n',
        b'Sep=|\nto|body|id\npjsip:a|"Hello, J\xc3\xb6rg\nline ""2"""|1',
        b'"a,b";to;body;id\n;pjsip:a;"Hello, J\xc3\xb6rg\nline ""2""";1\n',
    ],
    ids=["comma", "semicolon", "sep", "quotes", "tab", "another sep", "quoted comma"],
)
def test_csv_of_spreadsheet_programs(
    run: Runner, server: LoopbackServer, pipe: FileIO, data: bytes
) -> None:
    pipe.write(data)
    pipe.close()
    code, out, err = run.logged_in(server.port, "--batch", "-")
    assert code == 0, out + err
    (message,) = server.messages
    assert message.text == 'Hello, J\xf6rg\nline "2"'
    (result,) = results_of(out)
    assert result["id"] == "1"


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"to,body,to\na,b,c\n", "duplicate"), (b'to,"bo"dy\na,b\n', "CSV"),
        (b"pjsip:a,Hello\n", "'to'"), (b"body;from\nx;y\n", "'to'"),
        (b"to,body,variables:X-Door\na,b,c\n", "'variables:X-Door'"),
        (b"to,body,Variable:X-Door\na,b,c\n", "'Variable:X-Door'"),
        (b"to,body,variablen:X-Door\na,b,c\n", "'variablen:X-Door'"),
        (b"to,body,variable:X-A,variable: X-A\na,b,c,d\n", "duplicate"),
        (b"to,body,variable\na,b,c\n", "variable:NAME"),
        (b"to,body,variables\na,b,c\n", "variable:NAME"), (b"to,Body\na,b\n", "'Body'"),
        (b"to,body\rpjsip:a,x\r", "CR"), (b'sep="\nto,body\na,b\n', "'to'"),
        ("to\tbody\n".encode("utf-16"), "UTF-8"), ("to;body;stra\xdfe\n".encode("cp1252"), "UTF-8"),
        (b"nonsense\n", "JSON"), (b"[1]\n", "JSON"),
    ],
)  # fmt: skip
def test_invalid_csv_header(
    run: Runner, server: LoopbackServer, tmp_path: Path, data: bytes, part: str
) -> None:
    path = tmp_path / "in"
    path.write_bytes(data)
    result = run.logged_in(server.port, "--batch", str(path))
    assert_one_line(result, 65, "line 1: ", part)
    assert result[1] == "" and server.messages == []


def test_csv_with_errors(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes("to;body\npjsip:a;J\xf6rg\npjsip:b\npjsip:c;x\n".encode("cp1252"))
    code, out, err = run.logged_in(server.port, "--batch", str(path))
    results = results_of(out)
    assert code == 65 and [one["outcome"] for one in results] == ["not_sent"] * 2 + ["accepted"]
    assert "Excel: CSV UTF-8" in results[0]["error"] and "Excel" in err
    assert results[1]["error"].endswith(" 1 cell, the header has 2")


# -- Retry and skip.


def output_row(number: int, outcome: str, retryable: Any) -> Dict[str, Any]:
    row = {"to": "pjsip:a", "body": str(number), "outcome": outcome, "retryable": retryable}
    return {**row, "action_id": None, "error": "why"}


def test_retry_sends_retryable_lines_and_keeps_the_others(
    run: Runner, server: LoopbackServer, tmp_path: Path
) -> None:
    path = tmp_path / "out"
    outcomes = [
        ("accepted", False), ("not_sent", True), ("not_sent", False), ("unknown", True),
        ("failed", True), ("failed", False), ("not_sent", "yes"),
    ]  # fmt: skip
    lines = [json.dumps(output_row(number, *one)) + "\n" for number, one in enumerate(outcomes)]
    lines[0] = lines[0].replace("why", "\xe9").replace(", ", ",  ")
    path.write_text("".join(lines), "utf-8")
    code, out, err = run.logged_in(server.port, "--retry", str(path))
    assert code == 74  # the unknown one
    assert [message.text for message in server.messages] == ["1", "4"]
    written = out.splitlines(keepends=True)
    assert [written[n] for n in (0, 2, 3, 5, 6)] == [lines[n] for n in (0, 2, 3, 5, 6)]
    assert [results_of(written[n])[0]["outcome"] for n in (1, 4)] == ["accepted"] * 2
    assert " 7 lines: 5 unchanged, 2 accepted" in err and "; why" in err


@pytest.mark.parametrize(
    ("outcome", "retryable", "code"),
    [
        ("accepted", False, 0), ("not_sent", False, 65), ("failed", False, 69),
        ("unknown", False, 74), ("failed", True, 0),
    ],
)  # fmt: skip
def test_retry_ends_with_the_worst_outcome_left(
    run: Runner, server: LoopbackServer, tmp_path: Path, outcome: str, retryable: bool, code: int
) -> None:
    path = tmp_path / "out"
    rows = [output_row(0, "accepted", False), output_row(1, outcome, retryable)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run.logged_in(server.port, "--retry", str(path))[0] == code


def test_retry_without_a_retryable_line_needs_no_server(run: Runner, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text(json.dumps(output_row(0, "accepted", False)))
    assert run.logged_in(1, "--retry", str(path))[:2] == (0, path.read_text() + "\n")


def test_retry_of_a_file_that_no_batch_has_written(
    run: Runner, server: LoopbackServer, tmp_path: Path
) -> None:
    path = tmp_path / "out"
    path.write_text(GOOD + json.dumps(output_row(0, "done", False)) + '\n{"to')
    code, out, err = run.logged_in(server.port, "--retry", str(path))
    results = results_of(out)
    assert code == 74 and server.messages == []
    # A line that was cut off may be one of a message that was sent.
    assert [one["outcome"] for one in results] == ["not_sent", "not_sent", "unknown"]
    assert "--batch" in results[0]["error"] and results[2]["input"] == '{"to'
    path.write_text("")
    assert_one_line(run.logged_in(server.port, "--retry", str(path)), 66, "empty")


def test_failures_not_caused_by_the_message_are_retryable(
    run: Runner, server: LoopbackServer, tmp_path: Path
) -> None:
    path = tmp_path / "out"
    for message in ("Message failed to send.", "Message technology not found."):
        server.script(refuse(message))
        code, out, err = run.logged_in(server.port, "--batch", write_batch(tmp_path / "in", 1))
        assert code == 75 and outcomes_of(out) == [("failed", True)] and "--retry" in err
        path.write_text(out)
        assert run.logged_in(server.port, "--retry", str(path))[0] == 0


def test_skip(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text("to,body\n" + 'pjsip:a,"x\ny"\n' + "pjsip:b,2\npjsip:c,3\n")
    code, out, err = run.logged_in(server.port, "--batch", str(path), "--skip", "2")
    assert code == 0 and [message.text for message in server.messages] == ["3"]
    assert len(results_of(out)) == 1
    assert run.logged_in(server.port, "--batch", str(path), "--skip", "4")[:2] == (0, "")
    path.write_text("".join(json.dumps(output_row(n, "not_sent", True)) + "\n" for n in range(3)))
    assert run.logged_in(server.port, "--retry", str(path), "--skip", "2")[0] == 0
    assert [message.text for message in server.messages] == ["3", "2"]


@pytest.mark.parametrize("option", ["--batch", "--retry"])
def test_output_to_the_input(server: LoopbackServer, tmp_path: Path, option: str) -> None:
    path = Path(write_batch(tmp_path / "in", 40))
    before = path.read_text()
    for source, stdin in ((str(path), subprocess.DEVNULL), ("-", path.open())):
        with path.open("a") as output:
            result = run_process(
                option, source, env=environment(server.port), stdin=stdin, stdout=output
            )
        assert_one_line(result, 64, "input", "output")
    stdin.close()  # type: ignore[union-attr]
    assert path.read_text() == before and server.messages == []


def test_output_to_the_input_in_this_process(run: Runner, tmp_path: Path) -> None:
    path = Path(write_batch(tmp_path / "in", 1))
    saved = os.dup(1)
    with path.open("a") as output:
        os.dup2(output.fileno(), 1)
    try:
        result = run("--batch", str(path))
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    assert_one_line(result, 64)


def test_dry_run(run: Runner, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text(GOOD + BAD)
    result = run("--batch", str(path), "--dry-run")
    assert_one_line(result, 65, "line 2: ")
    assert result[1].count("Action: MessageSend") == 1


def test_dry_run_of_a_retry(run: Runner, tmp_path: Path) -> None:
    path = tmp_path / "out"
    rows = [output_row(0, "accepted", False), output_row(1, "not_sent", True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = run("--retry", str(path), "--dry-run")
    assert (code, err) == (0, "") and re.findall("Body: (.*)", out.replace("\r", "")) == ["1"]
    path.write_text(json.dumps(output_row(0, "unknown", False)))
    assert_one_line(run("--retry", str(path), "--dry-run"), 74, "why")


def test_loopback(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_batch(tmp_path / "in", 3)
    code, out, err = run("--batch", path, "--loopback", "--quiet")
    assert code == 0 and outcomes_of(out) == [("accepted", False)] * 3
    assert re.findall("  Body: '(.*)'", err) == ["number 0", "number 1", "number 2"]
    monkeypatch.setattr(sys, "stderr", None)
    code, out, err = run("--batch", path, "--loopback")
    assert code == 0 and outcomes_of(out) == [("accepted", False)] * 3


def test_empty_input(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    path = write_batch(tmp_path / "in", 0)
    assert_one_line(run.logged_in(server.port, "--batch", path), 0, " 0 lines: ")


def test_many_invalid_lines_in_a_row(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text(GOOD + BAD * 3_000 + GOOD)
    code, out, err = run.logged_in(server.port, "--batch", str(path))
    good = ("accepted", False)
    assert outcomes_of(out) == [good, *[("not_sent", False)] * 3_000, good]


def test_lines_that_may_have_been_sent_before_a_sigkill(run: Runner, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text((BAD + GOOD) * 100)
    # 16 messages of the first 32 lines.
    with Script(log_in, *[read] * 16, expect_silence(0.1), close) as script:
        code, out, err = run.logged_in(script.port, "--batch", str(path))
    unknown = [number for number, one in enumerate(outcomes_of(out)) if one[0] == "unknown"]
    assert unknown == [*range(1, 200, 2)] and len(script.peers) == 7


# -- Failures.


def test_unreadable_input(
    run: Runner, server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (tmp_path / "missing", tmp_path):
        assert_one_line(run.logged_in(server.port, "--batch", str(path)), 66)
    monkeypatch.setattr(sys, "stdin", None)
    assert_one_line(run.logged_in(server.port, "--batch", "-"), 66, "standard input")


@needs_signals
def test_lines_before_a_read_error_have_results(
    run: Runner, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.openpty()
    os.write(writing, (GOOD + BAD).encode())
    os.close(writing)  # Linux reports EIO at the end
    with open(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        result = run.logged_in(server.port, "--batch", "-")
    assert_one_line(result, 66, "[Errno 5]")
    assert outcomes_of(result[1]) == [("accepted", False), ("not_sent", False)]


def test_every_line_has_a_result_after_a_failed_login(
    run: Runner, server: LoopbackServer, tmp_path: Path
) -> None:
    path = tmp_path / "in"
    path.write_text(GOOD + BAD + GOOD)
    wrong = {"AMI_PORT": str(server.port), "AMI_USERNAME": "eve", "AMI_SECRET": "x"}
    result = run("--batch", str(path), **wrong)
    assert_one_line(result, 77, "3 not sent", "'eve'", "AMI_SECRET", "--retry OUTPUT sends 2")
    assert outcomes_of(result[1]) == [("not_sent", True), ("not_sent", False), ("not_sent", True)]
    path.write_text(result[1])
    assert run.logged_in(server.port, "--retry", str(path))[0] == 65
    assert len(server.messages) == 2
    with LoopbackServer(tls=server_tls()) as secure:
        arguments = ["--batch", str(path), "--cafile", OTHER_PEM, "--host", "localhost"]
        path.write_text(GOOD * 2)
        code, out, err = run.logged_in(secure.port, *arguments)
        assert code == 76 and outcomes_of(out) == [("not_sent", True)] * 2
        assert "--cafile: " in err and not secure.messages


def test_no_server(run: Runner, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    path = tmp_path / "in"
    path.write_text("\n" + (GOOD + BAD) * 2)
    result = run.logged_in(port, "--batch", str(path))
    assert_one_line(result, 75, "4 not sent; line 2: AMI_PORT: ", "--retry OUTPUT sends 2")
    assert outcomes_of(result[1]) == [("not_sent", True), ("not_sent", False)] * 2
    assert "/s" not in result[2]


def test_retries_after_disconnects(run: Runner, server: LoopbackServer, tmp_path: Path) -> None:
    count = 400
    path = Path(write_batch(tmp_path / "0", count))
    for attempt in range(20):
        # The cut is in the client's output, so that some of it does not arrive.
        with Proxy(server.port, up=Direction(cut=4_000 if attempt < 4 else None)) as proxy:
            option = "--retry" if attempt else "--batch"
            code, out, err = run.logged_in(proxy.port, option, str(path))
        results = results_of(out)
        assert [line["id"] for line in results] == list(range(count))
        assert code == 74  # the unknown ones of the first run are kept
        assert err.startswith("amisend: 400 lines: ") and err.count("\n") == 1  # and no log
        path = tmp_path / str(attempt + 1)
        path.write_text(out)
        if not any(line["retryable"] for line in results):
            break
    assert attempt == 4
    arrived = Counter(message.text for message in server.messages)
    assert max(arrived.values()) == 1  # nothing twice
    accepted = [line["body"] for line in results if line["outcome"] == "accepted"]
    unknown = [line["body"] for line in results if line["outcome"] == "unknown"]
    assert len(accepted) + len(unknown) == count and len(unknown) <= 4 * 32
    assert set(accepted) <= set(arrived) <= {*accepted, *unknown}


@needs_signals
@pytest.mark.parametrize("name", ["/dev/full", "closed pipe"])
def test_output_error_stops_the_batch(server: LoopbackServer, tmp_path: Path, name: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    path = write_batch(tmp_path / "in", 500)
    for unbuffered in ("", "1"):
        with open(name if name[0] == "/" else os.dup(writing), "w") as output:
            env = environment(server.port, PYTHONUNBUFFERED=unbuffered)
            result = run_process("--batch", path, env=env, stdout=output)
        count = len(server.messages)
        assert_one_line(result, 74, "--skip")
        (limit,) = re.findall(r"--skip (\d+)", result[2])
        assert 0 < count <= int(limit) <= 33
        server.messages.clear()
    os.close(writing)


@needs_full_device
def test_output_error_in_this_process(
    run: Runner, server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with full_stream() as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        result = run.logged_in(server.port, "--batch", write_batch(tmp_path / "in", 500))
    assert_one_line(result, 74, "[Errno 28]", "--skip")


# -- Pipes.


@needs_signals
def test_slow_pipe_is_sent_at_once(run: Runner, server: LoopbackServer, pipe: FileIO) -> None:
    seen: List[int] = []

    def write() -> None:
        for number in range(3):
            for part in (b'{"to": "pjsip:a",', b' "body": "x"}\n'):
                pipe.write(part)
                time.sleep(0.02)
            deadline = time.monotonic() + 10.0
            while len(server.messages) <= number and time.monotonic() < deadline:
                time.sleep(0.01)
            seen.append(len(server.messages))
        pipe.close()

    thread = start_thread(write)
    code, out, err = run.logged_in(server.port, "--batch", "-")
    thread.join()
    assert code == 0 and seen == [1, 2, 3] and len(results_of(out)) == 3


@contextmanager
def batch_of_lines(port: int) -> Iterator[Callable[[str], str]]:
    """Run a batch, and yield a function that writes a line and returns its outcome."""
    with subprocess.Popen(
        command("--batch", "-"), cwd=ROOT, env=environment(port), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
    ) as child:  # fmt: skip
        assert child.stdin is not None and child.stdout is not None
        lines, out = child.stdin, child.stdout

        def outcome_of(line: str) -> str:
            lines.write(line.encode())
            return str(json.loads(out.readline())["outcome"])

        yield outcome_of
        lines.close()


@pytest.mark.parametrize(("step", "outcome"), [(accept, "accepted"), (read, "unknown")])
def test_disconnect_while_a_pipe_is_silent(step: Step, outcome: str) -> None:
    with Script(log_in, step, close) as script, batch_of_lines(script.port) as outcome_of:
        for _ in range(2):
            assert outcome_of(GOOD) == outcome
            time.sleep(0.3)
        assert len(script.peers) == 2


def test_lines_that_arrive_without_a_server() -> None:
    with Script(close) as script, batch_of_lines(script.port) as outcome_of:
        # A line that arrives during an attempt to connect has no attempt of its own.
        while len(script.peers) < 3:
            assert [outcome_of(line) for line in (GOOD, BAD)] == ["not_sent"] * 2


def test_failed_login_is_not_repeated() -> None:
    steps = send(BANNER), respond("Error", "Message: Authentication failed"), close
    with Script(*steps) as script, batch_of_lines(script.port) as outcome_of:
        for _ in range(3):
            assert outcome_of(GOOD) == "not_sent"
            time.sleep(0.1)
        assert len(script.peers) == 1


# -- Signals.


@needs_signals
@pytest.mark.parametrize("signum", SIGNALS)
@pytest.mark.parametrize("times", [1, 2])
def test_every_line_has_a_result_after_signals(
    run: Runner, tmp_path: Path, signum: signal.Signals, times: int
) -> None:
    count = 100
    steps = [repeat(39, accept), read, *[send_signal(signum)] * times, accept_all]
    with Script(log_in, *steps) as script:
        ended, out, err = run.logged_in(script.port, "--batch", write_batch(tmp_path / "in", count))
    assert ended == 128 + signum
    results = results_of(out)
    assert [line["id"] for line in results] == list(range(count))
    accepted = [line for line in results if line["outcome"] == "accepted"]
    rest = results[len(accepted) :]
    assert 40 <= len(accepted) == len(script.actions) < count
    assert all((line["outcome"], line["retryable"]) == ("not_sent", True) for line in rest)
    assert signum.name in rest[0]["error"] and err.endswith(f"; received {signum.name}\n")


@needs_signals
@pytest.mark.parametrize(
    ("first", "partial"),
    [(GOOD, '{"to": "pjsip:a", "body": "2"'), ("to,body\npjsip:a,x\n", 'pjsip:a,"y\n')],
    ids=["json", "csv"],
)
def test_signal_while_a_pipe_is_silent(
    run: Runner, server: LoopbackServer, pipe: FileIO, first: str, partial: str
) -> None:
    pipe.write(first.encode())

    def interrupt() -> None:
        while not server.messages:
            time.sleep(0.01)
        time.sleep(0.05)
        pipe.write(partial.encode())
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = start_thread(interrupt)
    code, out, err = run.logged_in(server.port, "--batch", "-")
    thread.join()
    assert code == 143 and outcomes_of(out) == [("accepted", False)]
    assert "--skip 1 continues" in err


@needs_signals
def test_signal_in_a_long_file(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MAX_DRAIN", 0.0)
    with Script(log_in, read, send_signal(signal.SIGTERM), accept_all) as script:
        code, out, err = run.logged_in(script.port, "--batch", write_batch(tmp_path / "in", 5_000))
    results = results_of(out)
    assert code == 143 and len(script.actions) < len(results) < 5_000
    assert results[-1]["outcome"] == "not_sent" and results[-1]["retryable"]
    assert f"--skip {len(results)} continues" in err


@needs_signals
def test_signal_while_the_producer_goes_on(server: LoopbackServer, tmp_path: Path) -> None:
    env = environment(server.port)
    code = f"import sys\nwhile True: sys.stdout.write({GOOD!r})"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as producer:
        with (tmp_path / "out").open("wb") as out:
            child = subprocess.Popen(
                command("--batch", "-"), cwd=ROOT, env=env, stdin=producer.stdout, stdout=out,
                stderr=subprocess.PIPE,
            )  # fmt: skip
        while len(server.messages) < 200:
            time.sleep(0.01)
        start = time.monotonic()
        child.send_signal(signal.SIGINT)
        err = child.communicate(timeout=20)[1].decode()
        assert child.returncode == 130 and time.monotonic() - start < 5.0
        producer.kill()
    results = results_of((tmp_path / "out").read_text())
    accepted = [line for line in results if line["outcome"] == "accepted"]
    assert len(accepted) == len(server.messages) and results[-1]["outcome"] == "not_sent"
    assert f"--skip {len(results)} continues" in err


@needs_signals
@pytest.mark.parametrize("option", ["--batch", "--to"])
def test_signal_while_connecting(tmp_path: Path, option: str) -> None:
    arguments = ["--batch", write_batch(tmp_path / "in", 3)] if option == "--batch" else MESSAGE
    with Script(read_until_eof) as script:
        child = subprocess.Popen(
            command(*arguments), cwd=ROOT, env=environment(script.port), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        while not script.peers:
            time.sleep(0.01)
        time.sleep(0.05)
        for _ in range(2):
            child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=5)
    # The second one may come when Python has removed the handlers.
    assert child.returncode in (143, -signal.SIGTERM)
    assert b"Traceback" not in err and b"SIGTERM" in err
    expected = [("not_sent", True)] * 3 if option == "--batch" else []
    assert outcomes_of(out.decode()) == expected
