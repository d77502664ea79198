"""The command ``python3 -m amiclient``: for each error one line and a code, never a traceback."""

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
from typing import Dict, Tuple, Type

import pytest

from amiclient import __version__
from amiclient import exceptions as errors
from amiclient.command.options import code_of, combine_exit_codes
from amiclient.command.signals import Interrupted, Signals
from amiclient.loopback import SECRET, USERNAME, LoopbackServer
from amiproto import AMIError, BodyTooLong, LoginFailed
from tests.certificates import OTHER_PEM, SERVER_PEM, server_tls
from tests.command.shell import (
    MESSAGE,
    Runner,
    command,
    environment,
    one_line,
    process,
    signal_here,
)
from tests.readme import ROOT
from tests.script import Script, Step, log_in, read, read_until_eof, respond, send

# -- The five errors, and what else can go wrong, each by a process of its own.


def test_a_wrong_secret(server: LoopbackServer) -> None:
    env = environment(server.port, AMI_SECRET="wr0ng")
    code, out, err = process(*MESSAGE, env=env)
    one_line(code, 77, err, "Authentication failed")
    assert out == "" and "wr0ng" not in err


def test_no_server_listening() -> None:
    with Script() as script:
        port = script.port
    code, out, err = process(*MESSAGE, env=environment(port))
    one_line(code, 75, err, f"127.0.0.1 port {port}", "manager.conf")


@pytest.mark.parametrize(
    ("steps", "code", "words"),
    [
        ((), 75, "closed the connection before the login"),
        ((read_until_eof,), 75, "in time"),
        # Such texts can end in a stray LF; still it is one line.
        ((log_in, respond("Error", "Message: Message failed to send.\n")), 69,
         "Message failed to send."),
        ((log_in, read), 74, "may have been carried out"),
        ((send(b"SSH-2.0-OpenSSH_9.2\r\n"),), 76, "not the banner"),
    ],
    ids=["closes", "is silent", "refuses", "breaks off", "is no manager"],
)  # fmt: skip
def test_servers_that_give_no_receipt(steps: Tuple[Step, ...], code: int, words: str) -> None:
    timeout = ["--timeout", "0.3"] if read_until_eof in steps else []
    with Script(*steps) as script:
        start = time.monotonic()
        ended, out, err = process(*MESSAGE, *timeout, env=environment(script.port))
        assert time.monotonic() - start < 5.0 or not timeout
    one_line(ended, code, err, words)


def test_a_message_that_cannot_be_sent(server: LoopbackServer) -> None:
    env = environment(server.port)
    for arguments in (
        ["--to", "pjsip:alice", "--body", "x" * 1017],
        ["--to", "pjsip:alice\r\n\r\nAction: Ping", "--body", "x"],
        ["--to", "pjsip:\udcff", "--body", "x"],
    ):
        code, out, err = process(*arguments, env=env)
        one_line(code, 65, err)
    assert server.messages == []


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_interrupted() -> None:
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
def test_an_answer_that_cannot_be_shown(server: LoopbackServer) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command(*MESSAGE), cwd=ROOT, env=environment(server.port), stdout=full,
            stderr=subprocess.PIPE, timeout=60,
        )  # fmt: skip
    assert done.returncode == 74
    assert done.stderr.decode().splitlines() == [
        "amisend: pjsip:alice: may have been sent",
        "amisend: the answer cannot be shown: [Errno 28] No space left on device",
    ]
    assert len(server.messages) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_message_that_cannot_be_shown(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        code, out, err = run(*MESSAGE, "--loopback", "--quiet")
    one_line(code, 74, err, "the answer cannot be shown")


def test_what_is_shown_when_it_worked(server: LoopbackServer) -> None:
    code, out, err = process(*MESSAGE, env=environment(server.port))
    (message,) = server.messages
    assert (code, err) == (0, "")
    assert out == f"pjsip:alice: Message successfully sent (ActionID {message.action_id})\n"


def test_the_body_from_standard_input_byte_for_byte(server: LoopbackServer) -> None:
    body = " two\r\nlines, 世界 \xff\n".encode("latin-1", "replace") + b"\xff\x80\n"
    code, out, err = process("--to", "pjsip:alice", env=environment(server.port), stdin=body)
    assert (code, err) == (0, "")
    assert server.messages[0].body == body


def test_loopback_shows_what_it_received() -> None:
    code, out, err = process(
        "--to", "sip:alice@example.org", "--from", "Door <sip:door@example.org>", "--body", "hé\n",
        "--variable", "X-A=1", "--variable", "X-B=2=3", "--destination", "pjsip:bob", "--loopback",
        env={"PATH": os.environ.get("PATH", ""), "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert out.splitlines()[1:] == [
        "The loopback server received:",
        "  To: sip:alice@example.org",
        "  From: Door <sip:door@example.org>",
        "  Destination: pjsip:bob",
        "  Variable: X-A=1",
        "  Variable: X-B=2=3",
        "  Body: 'h\\xe9\\n'",
    ]


# -- The same function in this process, for the rest.


def test_settings_that_are_none(run: Runner) -> None:
    for arguments, words in (
        (["--to", "sip:a", "--port", "x"], "--port: 'x' is no port"),
        (["--to", "sip:a", "--port", "65536"], "--port: '65536' is no port"),
        (["--to", "sip:a", "--timeout", "soon"], "--timeout: 'soon' is no time"),
        (["--to", "sip:a", "--timeout", "-1"], "--timeout: '-1' is no time"),
        (["--to", "sip:a", "--timeout", "nan"], "--timeout: 'nan' is no time"),
        (["--to", "sip:a", "--timeout", "0"], "--timeout: '0' is no time"),
        (["--to", "sip:a", "--timeout", "1e9"], "--timeout: '1e9' is no time"),
        (["--to", "sip:a", "--host", ""], "--host is empty"),
    ):
        code, out, err = run(*arguments, "--body", "x")
        one_line(code, 64, err, words)
        assert out == ""
    for number in ("x", "5038 "):
        code, out, err = run(*MESSAGE, AMI_PORT=number)
        one_line(code, 78, err, "AMI_PORT")


def test_a_secret_on_the_command_line_is_not_shown(run: Runner) -> None:
    for arguments in (
        ["--secret", "s3cret"], ["--secret=s3cret"], ["s3cret"], ["--secre=s3cret", "s3cret"],
    ):  # fmt: skip
        code, out, err = run(*MESSAGE, *arguments)
        one_line(code, 64, err)
        assert "s3cret" not in err + out
    assert "--secret-file" in run(*MESSAGE, "--secret", "s3cret")[2]


def test_version(run: Runner) -> None:
    assert run("--version") == (0, f"amisend {__version__}\n", "")


def test_every_error_has_its_exit_code() -> None:
    expected: Dict[Type[AMIError], int] = {
        errors.ActionFailed: 69, BodyTooLong: 65, errors.ConnectError: 75, errors.TLSError: 76,
        errors.NotAnAMIServer: 76, errors.SendFailed: 75, errors.ConnectTimeout: 75,
        errors.SendTimeout: 75, errors.NotConnected: 75, LoginFailed: 77,
        errors.ConnectionLost: 74, errors.ResponseTimeout: 74, errors.OutcomeUnknown: 74,
    }  # fmt: skip
    for kind, code in expected.items():
        error = kind.__new__(kind)
        AMIError.__init__(error, "x")
        assert code_of(error) == code, kind
    assert list(
        map(combine_exit_codes, ([], [0, 0], [0, 65, 69], [69, 75, 65], [75, 74, 0]))
    ) == [
        0, 0, 65, 75, 74,
    ]  # fmt: skip


def test_each_recipient_has_its_line_and_its_message(run: Runner) -> None:
    with LoopbackServer(technologies=["pjsip"]) as server:
        code, out, err = run.logged_in(
            server.port, "--to", "pjsip:a", "--to", "fax:b", "--to", "pjsip:c", "--body", ""
        )
        one_line(code, 69, err, "amisend: fax:b: the server answered")
        assert [message.to for message in server.messages] == ["pjsip:a", "pjsip:c"]
        assert out == "".join(
            f"{message.to}: Message successfully sent (ActionID {message.action_id})\n"
            for message in server.messages
        )
        assert len({message.action_id for message in server.messages}) == 2
        code, out, err = run.logged_in(server.port, *MESSAGE, "--to", "fax:b", "--quiet")
        one_line(code, 69, err, "fax:b")
        assert out == ""


def test_who_is_left_when_the_connection_breaks(run: Runner) -> None:
    with Script(log_in, read) as script:
        code, out, err = run.logged_in(script.port, *MESSAGE, "--to", "sip:b", "--to", "sip:c")
    lines = err.splitlines()
    assert code == 74 and len(lines) == 3 and out == ""
    assert "pjsip:alice: the connection broke" in lines[0]
    assert lines[1].startswith("amisend: sip:b: ") and "()" not in err


def test_dry_run_writes_the_bytes_that_a_server_receives(server: LoopbackServer) -> None:
    arguments = [
        "--to", "pjsip:a", "--to", "sip:b", "--from", "Door <sip:d@e.org>", "--variable", "X-A=,1",
        "--body", "caf\udce9 \r\n \u4e16",
    ]  # fmt: skip
    env = environment()
    del env["AMI_USERNAME"], env["AMI_SECRET"]
    shown = subprocess.run(
        command(*arguments, "--dry-run"), cwd=ROOT, env=env, stdout=subprocess.PIPE, check=True
    ).stdout
    assert process(*arguments, env=environment(server.port))[0] == 0
    sent = b"".join(message.wire for message in server.messages)
    ids = re.compile(rb"ActionID: [0-9a-f]{32}\r\n")
    assert ids.sub(b"", shown) == ids.sub(b"", sent) != b""
    assert len(set(ids.findall(shown))) == 2 == len(ids.findall(sent))


def test_dry_run_here(run: Runner) -> None:
    code, out, err = run(*MESSAGE, "--dry-run")
    assert code == 0 and re.fullmatch(
        r"Action: MessageSend\nActionID: [0-9a-f]{32}\nTo: pjsip:alice\nBody: hello\n\n",
        out.replace("\r", ""),
    )
    code, out, err = run("--to", "pjsip:a", "--body", "x" * 1017, "--dry-run")
    one_line(code, 65, err, "--body: the text has 1017 bytes", "(--split)")


def test_verbose_tells_each_step_and_no_secret(run: Runner) -> None:
    logger = logging.getLogger("amiclient")
    before = logger.level, list(logger.handlers)
    with LoopbackServer(users={"me": "t0p"}) as server:
        code, out, err = run(
            *MESSAGE, "--verbose", "--port", str(server.port), AMI_USERNAME="me", AMI_SECRET="t0p"
        )
    assert code == 0 and "logged in at 127.0.0.1 port " in err
    assert "t0p" not in err and "hello" not in err
    assert (logger.level, logger.handlers) == before


def test_the_environment(run: Runner, server: LoopbackServer) -> None:
    code, out, err = run(
        *MESSAGE, AMI_HOST="127.0.0.1", AMI_PORT=str(server.port), AMI_USERNAME=USERNAME,
        AMI_SECRET=SECRET,
    )  # fmt: skip
    assert code == 0, err
    # An empty variable is none, and one that an option goes before is not looked at.
    code, out, err = run.logged_in(1, *MESSAGE, "--port", str(server.port))
    assert code == 0, err
    code, out, err = run(*MESSAGE, "--loopback", AMI_HOST="", AMI_PORT="", AMI_SECRET="")
    assert code == 0, err


def test_a_long_text_in_parts(run: Runner) -> None:
    text = "word " * 500
    code, out, err = run("--to", "pjsip:a", "--body", text, "--loopback")
    one_line(code, 65, err, "--split")
    code, out, err = run("--to", "pjsip:a", "--body", text, "--split", "--loopback")
    assert code == 0 and out.count("successfully sent") >= 3
    shown = [line for line in out.splitlines() if line.startswith("  Body: ")]
    assert len(shown) == out.count("successfully sent")


def test_a_body_that_is_no_text(
    run: Runner, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--to", "pjsip:a", "--port", str(server.port), "--split"]
    login = {"AMI_USERNAME": USERNAME, "AMI_SECRET": SECRET}
    code, out, err = run(*options, "--body", os.fsdecode(b"caf\xe9"), **login)
    assert code == 0, err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n")))
    code, out, err = run(*options, **login)
    assert code == 0, err
    assert [message.body for message in server.messages] == [b"caf\xe9", b"\xff\n"]


class _Broken(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        raise OSError("the disk is on fire")


def test_standard_input_that_cannot_be_read(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    code, out, err = run("--to", "pjsip:a", "--loopback")
    one_line(code, 66, err, "amisend: there is no text: give --body, or standard input\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(_Broken())))
    code, out, err = run("--to", "pjsip:a", "--loopback")
    one_line(code, 66, err, "on fire")
    most = 1024 * 1024
    for size, expected, words in (
        (
            0,
            66,
            "amisend: standard input is empty; give --body, and --body '' for an empty "
            "message\n",
        ),
        (most, 65, f"--body: the text has {most} bytes"),
        (most + 9, 65, f"standard input has over {most} bytes"),
    ):
        data = io.BytesIO(b"x" * size)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data))
        code, out, err = run("--to", "pjsip:a", "--loopback")
        one_line(code, expected, err, words)
        assert data.tell() == min(size, most + 1)  # no more is waited for than tells


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize(
    "signum, code, word", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_interrupted_here(run: Runner, signum: signal.Signals, code: int, word: str) -> None:
    before = signal.getsignal(signum)
    with Script(log_in, read, signal_here(signum), read_until_eof) as script:
        ended, out, err = run.logged_in(script.port, *MESSAGE, "--to", "sip:b", "--to", "sip:c")
    assert (ended, out) == (code, "")
    assert err.splitlines() == [
        "amisend: pjsip:alice: may have been sent", "amisend: sip:b: not sent",
        "amisend: sip:c: not sent", f"amisend: {word}",
    ]  # fmt: skip
    assert signal.getsignal(signum) == before


def test_an_interruption_tells_its_signal() -> None:
    error = Interrupted(signal.SIGTERM)
    assert error.signum == signal.SIGTERM and error.args == (signal.SIGTERM,)


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_any_number_of_signals_is_noted_in_silence() -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with Signals() as interrupts:
            interrupts.note()
            for _ in range(2_000):  # more than the socket holds that wakes up a wait
                os.kill(os.getpid(), signal.SIGUSR1)
            assert interrupts.signum is None
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_signal_that_is_ignored_stays_so(run: Runner) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with Script(log_in, read, signal_here(signal.SIGTERM), respond("Success")) as script:
            assert run.logged_in(script.port, *MESSAGE)[0] == 0
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.skipif(os.name != "posix", reason="needs a broken pipe")
def test_a_closed_pipe(
    run: Runner, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", pipe)
        code, out, err = run.logged_in(server.port, *MESSAGE)
        assert code == 74 and "cannot be shown" in err
    assert len(server.messages) == 1


def test_a_stream_that_cannot_be_reconfigured(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    assert run(*MESSAGE, "--loopback")[0] == 0
    assert "  Body: 'hello'\n" in shown.getvalue()


@pytest.mark.parametrize(
    ("stream", "option", "code"), [("stdout", "--body", 0), ("stderr", "--from", 65)]
)
def test_any_text_is_shown_whatever_the_terminal_knows(
    run: Runner, monkeypatch: pytest.MonkeyPatch, stream: str, option: str, code: int
) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, stream, io.TextIOWrapper(shown, "ascii", "strict"))
    options = {"--body": "x", option: "é"}
    assert run("--to", "pjsip:a", *sum(options.items(), ()), "--loopback")[0] == code
    getattr(sys, stream).flush()
    assert b"'\\xe9'" in shown.getvalue()


def test_tls(run: Runner) -> None:
    with LoopbackServer(tls=server_tls()) as server:
        options = [*MESSAGE, "--port", str(server.port), "--host", "localhost"]
        login = {"AMI_USERNAME": USERNAME, "AMI_SECRET": SECRET}
        assert run(*options, "--cafile", SERVER_PEM, **login)[0] == 0
        for wrong in (["--tls"], ["--cafile", OTHER_PEM]):
            code, out, err = run(*options, *wrong, **login)
            one_line(code, 76, err, "not trusted", "--cafile")
            assert "tls=" not in err
        # An empty or missing file must not mean a connection in the clear.
        for missing in ("", "no such file"):
            code, out, err = run(*options, "--cafile", missing, **login)
            one_line(code, 66 if missing else 64, err, "--cafile")
        assert len(server.messages) == 1


def test_everything_that_can_be_said_of_a_message(run: Runner) -> None:
    code, out, err = run(
        "--to", "sip:alice@example.org", "--from", "Door <sip:door@example.org>", "--body", "x",
        "--variable", "X-A=1", "--variable", "X-B=2=3", "--destination", "pjsip:bob", "--loopback",
    )  # fmt: skip
    assert code == 0, err
    for line in ("From: Door <sip:door@example.org>", "Destination: pjsip:bob", "X-B=2=3"):
        assert line in out


def test_the_module_runs_as_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "amiclient.__main__")
    monkeypatch.setattr(sys, "argv", ["amisend", *MESSAGE, "--loopback"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("amiclient", run_name="__main__")
    assert caught.value.code == 0
