"""One text from the shell: exit codes, one line per error, never a traceback."""

from __future__ import annotations

import io
import logging
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from typing import Dict, List, Tuple, Type

import pytest

from amiclient import __version__
from amiclient import exceptions as errors
from amiclient.command.options import combine_exit_codes, exit_code
from amiclient.command.signals import Signals
from amiclient.loopback import LoopbackServer
from amiproto import AMIError, BodyTooLong, LoginFailed
from tests.command.shell import (
    MESSAGE,
    Runner,
    assert_one_line,
    command,
    environment,
    needs_signals,
    run_process,
    send_signal,
)
from tests.readme import ROOT
from tests.script import Script, Step, log_in, read, read_until_eof, respond, send

# -- In a separate process.


def test_receipt_and_body_from_standard_input(server: LoopbackServer) -> None:
    body = " two\r\nlines, 世界\n".encode() + b"\xff\x80\n"
    code, out, err = run_process("--to", "pjsip:alice", env=environment(server.port), input=body)
    (message,) = server.messages
    assert (code, err) == (0, "")
    assert out == f"pjsip:alice: Message successfully sent (ActionID {message.action_id})\n"
    assert message.body == body


def test_wrong_secret(server: LoopbackServer) -> None:
    result = run_process(*MESSAGE, env=environment(server.port, AMI_SECRET="wr0ng"))
    assert_one_line(result, 77, "Authentication failed")
    assert "wr0ng" not in result[1] + result[2]


@needs_signals
def test_interrupted_process() -> None:
    with Script(read_until_eof) as script:
        child = subprocess.Popen(
            command(*MESSAGE), cwd=ROOT, env=environment(script.port), stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + 20.0
        while not script.peers and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        err = child.communicate(timeout=20)[1].decode()
    assert child.returncode == 130 and err == "amisend: interrupted\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("error", ["[Errno 28]", "[Errno 32]"], ids=["full", "closed"])
def test_receipt_that_cannot_be_written(server: LoopbackServer, error: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open("/dev/full" if error == "[Errno 28]" else writing, "w") as output:
        code, out, err = run_process(*MESSAGE, env=environment(server.port), stdout=output)
    lines = err.splitlines()
    assert code == 74 and len(lines) == 2
    assert "pjsip:alice: " in lines[0] and error in lines[1]
    assert len(server.messages) == 1


def test_loopback_prints_the_message() -> None:
    code, out, err = run_process(
        "--to", "sip:alice@example.org", "--from", "Door <sip:door@example.org>", "--body", "hé\n",
        "--variable", "X-A=1", "--variable", "X-B=2=3", "--destination", "pjsip:bob", "--loopback",
        env={"PATH": os.environ.get("PATH", ""), "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert out.splitlines()[2:] == [
        "  To: sip:alice@example.org",
        "  From: Door <sip:door@example.org>",
        "  Destination: pjsip:bob",
        "  Variable: X-A=1",
        "  Variable: X-B=2=3",
        "  Body: 'h\\xe9\\n'",
    ]


def test_dry_run_prints_the_bytes_that_are_sent(server: LoopbackServer) -> None:
    arguments = [
        "--to", "pjsip:a", "--to", "sip:b", "--from", "Door <sip:d@e.org>", "--variable", "X-A=,1",
        "--body", "caf\udce9 \r\n \u4e16",
    ]  # fmt: skip
    env = environment()
    del env["AMI_USERNAME"], env["AMI_SECRET"]
    printed = subprocess.run(
        command(*arguments, "--dry-run"), cwd=ROOT, env=env, stdout=subprocess.PIPE, check=True
    ).stdout
    assert run_process(*arguments, env=environment(server.port))[0] == 0
    sent = b"".join(message.wire for message in server.messages)
    ids = re.compile(rb"ActionID: [0-9a-f]{32}\r\n")
    assert ids.sub(b"", printed) == ids.sub(b"", sent) != b""
    assert len(set(ids.findall(printed))) == 2 == len(ids.findall(sent))


# -- In this process: messages.


def test_version(run: Runner) -> None:
    assert run("--version") == (0, f"amisend {__version__}\n", "")


def test_module_runs_as_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "amiclient.__main__")
    monkeypatch.setattr(sys, "argv", ["amisend", *MESSAGE, "--dry-run"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("amiclient", run_name="__main__")
    assert caught.value.code == 0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--to", "pjsip:alice", "--body", "x" * 1017], ["--body: ", "1017", "--split"]),
        (["--to", "pjsip:alice\r\n\r\nAction: Ping", "--body", "x"], ["--to: "]),
        (["--to", "pjsip:\udcff", "--body", "x"], ["--to: "]),
        ([*MESSAGE, "--from", "Door <sip:d"], ["--from: "]),
        ([*MESSAGE, "--destination", "pjsip:"], ["--destination: "]),
        ([*MESSAGE, "--variable", "From=x"], ["--variable: ", "'From'"]),
    ],
)
def test_invalid_message(run: Runner, arguments: List[str], parts: List[str]) -> None:
    assert_one_line(run(*arguments, "--dry-run"), 65, *parts)
    assert_one_line(run(*arguments, "--loopback"), 65, *parts)


@pytest.mark.parametrize(
    ("steps", "code", "part"),
    [
        ((), 75, "127.0.0.1"),
        ((read_until_eof,), 75, "127.0.0.1"),
        # The text of a server can end in a line feed; the error is one line all the same.
        ((log_in, respond("Error", "Message: Message failed to send.\n")), 69,
         "Message failed to send."),
        ((log_in, read), 74, "pjsip:alice: "),
        ((send(b"SSH-2.0-OpenSSH_9.2\r\n"),), 76, "127.0.0.1"),
    ],
    ids=["closes", "is silent", "returns an error", "closes after the action", "is not AMI"],
)  # fmt: skip
def test_server_that_gives_no_receipt(
    run: Runner, steps: Tuple[Step, ...], code: int, part: str
) -> None:
    timeout = ["--timeout", "0.3"] if read_until_eof in steps else []
    with Script(*steps) as script:
        start = time.monotonic()
        result = run.logged_in(script.port, *MESSAGE, *timeout)
        assert time.monotonic() - start < 5.0 or not timeout
    assert_one_line(result, code, part)


def test_each_recipient_gets_a_message(run: Runner) -> None:
    with LoopbackServer(technologies=["pjsip"]) as server:
        recipients = ["--to", "pjsip:a", "--to", "fax:b", "--to", "pjsip:c"]
        result = run.logged_in(server.port, *recipients, "--body", "")
        assert_one_line(result, 75, "amisend: fax:b: ")
        assert [message.to for message in server.messages] == ["pjsip:a", "pjsip:c"]
        assert result[1] == "".join(
            f"{message.to}: Message successfully sent (ActionID {message.action_id})\n"
            for message in server.messages
        )
        assert len({message.action_id for message in server.messages}) == 2
        result = run.logged_in(server.port, *MESSAGE, "--to", "fax:b", "--quiet")
        assert_one_line(result, 75, "fax:b: ")
        assert result[1] == ""


def test_connection_lost_before_the_last_recipient(run: Runner) -> None:
    with Script(log_in, read) as script:
        code, out, err = run.logged_in(script.port, *MESSAGE, "--to", "sip:b", "--to", "sip:c")
    assert (code, out) == (74, "")
    assert re.findall("^amisend: (.*?): ", err, re.MULTILINE) == ["pjsip:alice", "sip:b", "sip:c"]


def test_split(run: Runner) -> None:
    text = "word " * 500
    code, out, err = run("--to", "pjsip:a", "--body", text, "--split", "--loopback")
    assert (code, err) == (0, "")
    assert out.count("successfully sent") == out.count("  Body: ") >= 3


def test_body_that_is_not_utf_8(
    run: Runner, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--to", "pjsip:a", "--split"]
    assert run.logged_in(server.port, *options, "--body", os.fsdecode(b"caf\xe9"))[0] == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n")))
    assert run.logged_in(server.port, *options)[0] == 0
    assert [message.body for message in server.messages] == [b"caf\xe9", b"\xff\n"]


def test_unusable_standard_input(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def result_with(stdin: object) -> Tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", stdin)
        return run("--to", "pjsip:a", "--loopback")

    assert_one_line(result_with(None), 66, "--body")
    with open(os.open(os.devnull, os.O_WRONLY)) as unreadable:
        assert_one_line(result_with(unreadable), 66, "[Errno 9]")
    limit = 1024 * 1024
    sizes = [(0, 66, "--body ''"), (limit, 65, "--body: "), (limit + 9, 65, "standard input")]
    for size, code, part in sizes:
        data = io.BytesIO(b"x" * size)
        assert_one_line(result_with(io.TextIOWrapper(data)), code, part, str(limit if size else ""))
        assert data.tell() == min(size, limit + 1)  # the rest is not read


# -- Exit codes and output.


def test_exit_code_of_every_error() -> None:
    expected: Dict[Type[AMIError], int] = {
        errors.ActionFailed: 69, BodyTooLong: 65, errors.ConnectError: 75, errors.TLSError: 76,
        errors.NotAnAMIServer: 76, errors.SendFailed: 75, errors.ConnectTimeout: 75,
        errors.SendTimeout: 75, errors.NotConnected: 75, LoginFailed: 77,
        errors.ConnectionLost: 74, errors.ResponseTimeout: 74, errors.OutcomeUnknown: 74,
    }  # fmt: skip
    assert {kind: exit_code(kind("x")) for kind in expected} == expected


def test_combined_exit_code() -> None:
    codes: List[List[int]] = [[], [0, 0], [0, 65, 69], [69, 75, 65], [75, 74, 0]]
    assert [combine_exit_codes(each) for each in codes] == [0, 0, 65, 75, 74]


def test_verbose_logs_without_secrets(run: Runner) -> None:
    logger = logging.getLogger("amiclient")
    before = logger.level, list(logger.handlers)
    with LoopbackServer(users={"me": "t0p"}) as server:
        code, out, err = run(
            *MESSAGE, "--verbose", "--port", str(server.port), AMI_USERNAME="me", AMI_SECRET="t0p"
        )
    assert code == 0 and f"127.0.0.1 port {server.port}" in err
    assert "t0p" not in err and "hello" not in err
    assert (logger.level, logger.handlers) == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_message_that_cannot_be_printed(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        result = run(*MESSAGE, "--loopback", "--quiet")
    assert_one_line(result, 74, "[Errno 28]")


def test_stream_that_cannot_be_reconfigured(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    assert run(*MESSAGE, "--loopback")[0] == 0
    assert "  Body: 'hello'\n" in stream.getvalue()


@pytest.mark.parametrize(
    ("stream", "option", "code"), [("stdout", "--body", 0), ("stderr", "--from", 65)]
)
def test_text_beyond_the_encoding(
    run: Runner, monkeypatch: pytest.MonkeyPatch, stream: str, option: str, code: int
) -> None:
    output = io.BytesIO()
    monkeypatch.setattr(sys, stream, io.TextIOWrapper(output, "ascii", "strict"))
    options = {"--body": "x", option: "é"}
    assert run("--to", "pjsip:a", *sum(options.items(), ()), "--loopback")[0] == code
    getattr(sys, stream).flush()
    assert b"'\\xe9'" in output.getvalue()


# -- Signals.


@needs_signals
@pytest.mark.parametrize(
    "signum, code, text", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_interrupted(run: Runner, signum: signal.Signals, code: int, text: str) -> None:
    before = signal.getsignal(signum)
    with Script(log_in, read, send_signal(signum), read_until_eof) as script:
        ended, out, err = run.logged_in(script.port, *MESSAGE, "--to", "sip:b", "--to", "sip:c")
    assert (ended, out) == (code, "")
    assert err.splitlines() == [
        "amisend: pjsip:alice: may have been sent", "amisend: sip:b: not sent",
        "amisend: sip:c: not sent", f"amisend: {text}",
    ]  # fmt: skip
    assert signal.getsignal(signum) == before


@needs_signals
def test_many_signals_give_no_warning() -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with Signals() as signals:
            signals.defer()
            for _ in range(2_000):  # more than the buffer of the wake-up socket holds
                os.kill(os.getpid(), signal.SIGUSR1)
            assert signals.signum is None
    finally:
        signal.signal(signal.SIGUSR1, before)


@needs_signals
def test_ignored_signal_stays_ignored(run: Runner) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with Script(log_in, read, send_signal(signal.SIGTERM), respond("Success")) as script:
            assert run.logged_in(script.port, *MESSAGE)[0] == 0
    finally:
        signal.signal(signal.SIGTERM, before)
