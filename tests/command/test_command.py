"""One text from the shell: exit codes, one line per error, never a traceback."""

from __future__ import annotations

import errno
import io
import logging
import os
import pty
import re
import runpy
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Dict, List, Optional, Tuple, Type

import pytest

from amiclient import __version__
from amiclient import exceptions as errors
from amiclient.command.options import exit_code, worst_code
from amiclient.command.signals import Signals
from amiclient.loopback import SECRET, LoopbackServer, refuse
from amiproto import AMIError, BodyTooLong, LoginFailed
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
from tests.faults import start_thread
from tests.readme import ROOT
from tests.script import (
    BANNER,
    Script,
    Step,
    accept,
    log_in,
    pause,
    read,
    read_until_eof,
    respond,
    send,
)

# -- In a separate process.


def test_receipt_and_body_from_standard_input(server: LoopbackServer) -> None:
    body = " two\r\nlines, 世界\n".encode()
    env = environment(server.port)
    code, out, err = run_process("--to", "pjsip:alice", env=env, input=body + b"\n")
    (message,) = server.messages
    assert (code, err) == (0, "")
    assert out == f"pjsip:alice: Message successfully sent (ActionID {message.action_id})\n"
    assert message.body == body  # without its last line end


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
    assert child.returncode == 130 and err.count("\n") == 1 and "SIGINT" in err


@needs_full_device
@pytest.mark.parametrize("error", ["[Errno 28]", "[Errno 32]"], ids=["full", "closed"])
def test_receipt_that_cannot_be_written(server: LoopbackServer, error: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open("/dev/full" if error == "[Errno 28]" else writing, "w") as output:
        for unbuffered in ("", "1"):
            env = environment(server.port, PYTHONUNBUFFERED=unbuffered)
            code, out, err = run_process(*MESSAGE, "--to", "pjsip:b", env=env, stdout=output)
            lines = err.splitlines()
            assert code == 74 and len(lines) == 3
            assert "pjsip:alice: Message successfully" in lines[0] and error in lines[2]
            assert lines[1].startswith("amisend: pjsip:b: not sent: ")
    assert len(server.messages) == 2


@needs_signals
@pytest.mark.parametrize("stream", ["closed", "/dev/full"])
@pytest.mark.parametrize(
    ("secret", "arguments", "code"),
    [
        (SECRET, [], 0), ("wrong", [], 77), (SECRET, ["--verbose"], 0),
        (SECRET, ["--dry-run"], 0),
    ],
)  # fmt: skip
def test_standard_error_that_cannot_be_written(
    server: LoopbackServer, tmp_path: Path, stream: str, secret: str, arguments: List[str],
    code: int,
) -> None:  # fmt: skip
    path = tmp_path / "in"
    path.write_text('{"to": "pjsip:alice"}\n')
    close = "2>&-" if stream == "closed" else "2>/dev/full"
    for options in (["--to", "pjsip:alice"], ["--batch", str(path)]):
        line = command(*options, "--body", "two\nlines", *arguments)
        done = subprocess.run(
            ["sh", "-c", f'"$@" {close}', "sh", *line], cwd=ROOT, stdout=subprocess.PIPE,
            env=environment(server.port, AMI_SECRET=secret),
        )  # fmt: skip
        assert done.returncode == code
        if options[0] == "--batch" and "--dry-run" not in arguments:
            assert done.stdout.count(b"\n") == 1


@needs_full_device
@pytest.mark.parametrize(
    ("code", "steps", "arguments", "variables"),
    [
        (0, [log_in, accept], [], {}), (64, [], ["--nonsense"], {}),
        (65, [], ["--from", "Door <sip:d"], {}), (66, [], ["--config", "/no/such/file"], {}),
        (69, [log_in, respond("Error", "Message: Other")], [], {}), (74, [log_in, read], [], {}),
        (75, [], [], {}), (76, [send(b"SSH-2.0-OpenSSH_9.2\r\n")], [], {}),
        (77, [send(BANNER), respond("Error", "Message: Authentication failed")], [], {}),
        (78, [], [], {"AMI_TIMEOUT": "x"}),
        *[(128 + signum, [read_until_eof], [], {}) for signum in SIGNALS],
    ],
)  # fmt: skip
def test_every_exit_code_with_streams_that_cannot_be_written(
    code: int, steps: List[Step], arguments: List[str], variables: Dict[str, str]
) -> None:
    # With standard output closed, nothing is sent.
    for redirection, expected in (
        ("2>&-", code), ("2>/dev/full", code), (">&-", 64 if code == 64 else 74),
    ):  # fmt: skip
        with Script(*steps) as script:
            child = subprocess.Popen(
                ["sh", "-c", f'exec "$@" {redirection}', "sh", *command(*MESSAGE, *arguments)],
                cwd=ROOT, env=environment(script.port, **variables), stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )  # fmt: skip
            while code > 128 and expected == code and not script.peers:
                time.sleep(0.01)
            if expected > 128:
                child.send_signal(expected - 128)
            out, err = child.communicate(timeout=20)
        assert child.returncode == expected
        assert b"Traceback" not in err and err.count(b"\n") == (redirection == ">&-")


@needs_signals
def test_closed_standard_output(server: LoopbackServer, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text('{"to": "pjsip:alice", "body": "x"}\n')
    for options in (MESSAGE, ["--batch", str(path)], [*MESSAGE, "--dry-run"]):
        done = subprocess.run(
            ["sh", "-c", '"$@" >&-', "sh", *command(*options)], cwd=ROOT, stderr=subprocess.PIPE,
            env=environment(server.port),
        )  # fmt: skip
        assert_one_line((done.returncode, "", done.stderr.decode()), 74)
    assert server.messages == []


def test_streams_of_a_daemon(
    run: Runner, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        assert_one_line(run.logged_in(server.port, *MESSAGE), 74)
    monkeypatch.setattr(sys, "stderr", None)
    assert run("--nonsense") == (64, "", "")
    assert run(*MESSAGE[:2], "--body", "two\nlines", "--dry-run")[0] == 0
    assert server.messages == []


@needs_full_device
def test_full_streams(run: Runner, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    recipients = [*MESSAGE, "--to", "pjsip:b"]
    with full_stream() as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        code, out, err = run.logged_in(server.port, *recipients)
    lines = err.splitlines()
    assert code == 74 and "alice: Message successfully" in lines[0] and "b: not sent" in lines[1]
    with full_stream() as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", full)
        assert run.logged_in(server.port, *recipients, "--verbose")[0] == 0
    assert len(server.messages) == 3


@needs_signals
def test_no_descriptors_left(server: LoopbackServer, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text('{"to": "pjsip:alice", "body": "x"}\n')
    for options in (MESSAGE, ["--batch", str(path)]):
        failed = 0
        # Python needs 5; then the connection fails, up to 7, at another place with each.
        for limit in range(5, 12):
            done = subprocess.run(
                ["sh", "-c", f'ulimit -n {limit}; "$@"', "sh", *command(*options)], cwd=ROOT,
                env=environment(server.port), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            failed += done.returncode != 0
            if done.returncode != 0 or options is not MESSAGE:
                assert_one_line(
                    (done.returncode, "", done.stderr.decode()), 75 * (done.returncode != 0)
                )
            assert done.stdout.count(b"\n") == (options is not MESSAGE or done.returncode == 0)
        assert 1 <= failed <= 4


def test_module_that_cannot_be_opened(
    run: Runner, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Finder:
        """Fails as Python does without a descriptor for the module that a login needs."""

        def find_spec(self, name: str, *arguments: object) -> None:
            if name == "hashlib":
                raise OSError(errno.EMFILE, name)

    monkeypatch.delitem(sys.modules, "hashlib")
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    assert_one_line(run.logged_in(server.port, *MESSAGE), 75, "hashlib")
    assert server.messages == []


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


def test_loopback_server_knows_every_technology(run: Runner) -> None:
    for arguments in (["sip:a"], ["pjsip:a"], ["xmpp:a@example.org", "--from", "xmpp:b"]):
        code, out, _ = run("--to", *arguments, "--body", "x", "--loopback")
        assert code == 0 and f"  To: {arguments[0]}\n" in out


def test_dry_run_prints_the_bytes_that_are_sent(server: LoopbackServer) -> None:
    arguments = [
        "--to", "pjsip:a", "--to", "pjsip:b", "--from", "Door <sip:d@e.org>",
        "--variable", "X-A=,1", "--body", "caf\xe9 \r\n \u4e16",
    ]  # fmt: skip
    env = environment()
    del env["AMI_USERNAME"], env["AMI_SECRET"]
    done = subprocess.run(
        command(*arguments, "--dry-run"), cwd=ROOT, env=env, stdout=subprocess.PIPE, check=True,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    printed = done.stdout
    assert done.stderr.decode() == "amisend: # Base64Body: 'caf\xe9 \\r\\n \u4e16'\n" * 2
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
        ((log_in, respond("Error", "Message: No way.\n")), 69, "No way."),
        ((log_in, respond("Error", "Message: Message failed to send.")), 75, "contact"),
        ((log_in, respond("Error", "Message: Permission denied")), 77, "manager.conf"),
        ((log_in, read), 74, "pjsip:alice: "),
        ((send(b"SSH-2.0-OpenSSH_9.2\r\n"),), 76, "127.0.0.1"),
    ],
    ids=["closes", "is silent", "returns an error", "has no contact", "denies permission",
         "closes after the action", "is not AMI"],
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
    # No last message of line ends only, but an empty message if that is the text.
    for body, count in ("x" * 1016 + "\n\n", 1), ("", 1), ("\n", 1), ("x\n" * 500, 2):
        code, out, err = run("--to", "pjsip:a", "--body", body, "--split", "--loopback")
        assert (code, err) == (0, "") and out.count("  Body: ") == count


def test_body_that_is_not_utf_8(
    run: Runner, server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text").write_bytes(b"caf\xe9")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n")))
    for options in ([], ["--split"]):
        for body in (["--body", "caf\udce9"], ["--body-file", str(tmp_path / "text")], []):
            result = run.logged_in(server.port, "--to", "pjsip:a", *options, *body)
            assert_one_line(result, 65)
        sys.stdin.seek(0)
    assert server.messages == []


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"x", "x"), (b"x\n", "x"), (b"x\r\n", "x"), (b"x\n\n", "x\n"), (b"x\r", "x\r"),
        (b"y" * 1016 + b"\n", "y" * 1016),
    ],
)  # fmt: skip
def test_last_line_end_of_piped_text(
    run: Runner, server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    data: bytes, body: str,
) -> None:  # fmt: skip
    for options in ([], ["--split"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert run.logged_in(server.port, "--to", "pjsip:a", *options)[0] == 0
    assert [message.text for message in server.messages] == [body] * 2


def test_dry_run_shows_the_text_of_a_base64_body(run: Runner) -> None:
    code, out, err = run("--to", "pjsip:a", "--body", "two\nlines", "--dry-run")
    assert code == 0 and "\nBase64Body: " in out.replace("\r", "") and r"'two\nlines'" in err


def test_body_file(
    run: Runner, server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "text"
    path.write_bytes("\xe9\r\n".encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x\n")))
    for name in (str(path), "-"):
        assert run.logged_in(server.port, "--to", "pjsip:a", "--body-file", name)[0] == 0
    assert [message.text for message in server.messages] == ["\xe9\r\n", "x\n"]
    missing = run.logged_in(server.port, "--to", "pjsip:a", "--body-file", str(tmp_path / "no"))
    assert_one_line(missing, 66, "no")


def test_unusable_standard_input(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def result_with(stdin: object) -> Tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", stdin)
        return run("--to", "pjsip:a", "--dry-run")

    assert_one_line(result_with(None), 66, "--body")
    with open(os.open(os.devnull, os.O_WRONLY)) as unreadable:
        assert_one_line(result_with(unreadable), 66, "[Errno 9]")
    assert_one_line(result_with(io.TextIOWrapper(io.BytesIO(b"\n"))), 66, "--body ''")
    limit = 1024 * 1024
    sizes = [(0, 66, "--body ''"), (limit, 65, "--body: "), (limit + 9, 65, "standard input")]
    for size, code, part in sizes:
        data = io.BytesIO(b"x" * size)
        assert_one_line(result_with(io.TextIOWrapper(data)), code, part, str(limit if size else ""))
        assert data.tell() == min(size, limit + 1)  # the rest is not read


@needs_signals
def test_prompt_for_the_text(
    run: Runner, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal, user = os.openpty()
    os.write(terminal, b"Hello\n\x04")
    with open(user) as stdin, open(terminal):
        monkeypatch.setattr(sys, "stdin", stdin)
        assert_one_line(run.logged_in(server.port, "--to", "pjsip:a"), 0, "Ctrl-D")
    assert [message.text for message in server.messages] == ["Hello"]


@needs_signals
def test_text_typed_on_a_terminal(server: LoopbackServer) -> None:
    env = {**environment(server.port), "PYTHONPATH": str(ROOT)}
    del env["AMI_SECRET"]
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover
        os.execve(sys.executable, command("--to", "pjsip:a"), env)
    seen = b""

    def wait_for(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            seen += os.read(terminal, 1024)

    wait_for(b"Secret of loopback: ")
    assert b"Ctrl-D" not in seen  # the secret comes first
    os.write(terminal, SECRET.encode() + b"\n")
    wait_for(b"Ctrl-D\r\n")
    os.write(terminal, b"Hello\n\x04")
    wait_for(b"successfully sent")
    assert os.waitpid(pid, 0)[1] == 0
    os.close(terminal)
    assert SECRET.encode() not in seen.replace(b"Secret of loopback", b"")
    assert [message.text for message in server.messages] == ["Hello"]


# -- The check.


def test_check(run: Runner, server: LoopbackServer) -> None:
    code, out, err = run.logged_in(server.port, "--check")
    assert (code, err) == (0, "") and f"127.0.0.1 port {server.port}" in out
    assert run.logged_in(server.port, "--check", "--quiet") == (0, "", "")
    server.script(refuse("Permission denied"))
    assert_one_line(run.logged_in(server.port, "--check"), 77, "manager.conf", "message")
    server.script(refuse("Other"))
    assert_one_line(run.logged_in(server.port, "--check"), 69, "Other")
    assert_one_line(run.logged_in(1, "--check"), 75, "AMI_PORT")
    assert server.messages == []
    assert run("--check", "--loopback")[0] == 0


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
    codes: List[List[int]] = [[], [0, 0], [0, 65, 69], [69, 75, 65], [75, 74, 0], [69, 76, 77]]
    assert [worst_code(each) for each in codes] == [0, 0, 69, 75, 74, 77]
    assert worst_code({65, 0}) == 65


def test_verbose_logs_without_secrets(run: Runner) -> None:
    logger = logging.getLogger("amiclient")
    before = list(logger.handlers)
    with LoopbackServer(users={"me": "t0p"}) as server:
        code, out, err = run(
            *MESSAGE, "--verbose", "--port", str(server.port), AMI_USERNAME="me", AMI_SECRET="t0p"
        )
    assert code == 0 and f"127.0.0.1 port {server.port}" in err
    assert "t0p" not in err and "hello" not in err
    assert logger.handlers == before and logger.level == logging.NOTSET


def test_text_of_the_server_is_escaped(run: Runner) -> None:
    message = "Message: sent\rpjsip:b: Message \x1b[2Jsuccessfully \u202esent"
    expected = "sent\\rpjsip:b: Message \\x1b[2Jsuccessfully \\u202esent"
    for name in ("Success", "Error"):
        with Script(log_in, respond(name, message)) as script:
            code, out, err = run.logged_in(script.port, *MESSAGE)
        text = out if name == "Success" else err
        assert expected in text and text.count("\n") == 1 and "\x1b" not in text


@needs_full_device
def test_message_that_cannot_be_printed() -> None:
    with open("/dev/full", "w") as full:
        result = run_process(*MESSAGE, "--loopback", "--quiet", env=environment(), stdout=full)
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
@pytest.mark.parametrize("signum", SIGNALS)
@pytest.mark.parametrize("second", [None, *SIGNALS])
def test_interrupted(run: Runner, signum: signal.Signals, second: Optional[signal.Signals]) -> None:
    steps = [send_signal(signum)] + [pause(0.02), send_signal(second)] * (second is not None)
    with Script(log_in, read, *steps, pause(0.05), accept, read_until_eof) as script:
        ended, out, err = run.logged_in(script.port, *MESSAGE, "--to", "sip:b", "--to", "sip:c")
    assert ended == 128 + signum and out.startswith("pjsip:alice: Message successfully sent (")
    assert re.findall("^amisend: (.*?): not sent: ", err, re.MULTILINE) == ["sip:b", "sip:c"]
    assert len(script.actions) == 1


@needs_signals
@pytest.mark.parametrize("signum", SIGNALS)
def test_interrupted_before_anything_is_sent(
    run: Runner, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch, signum: signal.Signals
) -> None:
    before = signal.getsignal(signum)

    def interrupt() -> None:
        while signal.getsignal(signum) is before:
            time.sleep(0.01)
        time.sleep(0.1)
        # Another thread would not interrupt the read.
        signal.pthread_kill(threading.main_thread().ident or 0, signum)

    # Once: a second one might come after the run. test_signal_while_connecting sends two.
    with Script(send_signal(signum), read_until_eof) as script:
        result = run.logged_in(script.port, *MESSAGE)
    assert_one_line(result, 128 + signum, signum.name)
    reading, writing = os.pipe()
    with open(reading) as stdin, open(writing):
        monkeypatch.setattr(sys, "stdin", stdin)
        thread = start_thread(interrupt)
        result = run.logged_in(server.port, "--to", "pjsip:a")
        thread.join()
    assert_one_line(result, 128 + signum, signum.name, "nothing was sent")
    assert server.messages == []


@needs_signals
def test_only_the_first_signal_has_an_effect() -> None:
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    try:
        with Signals() as signals:
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGHUP)  # also while the process ends
        assert signals.name == "SIGTERM"
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def test_signal_handlers_are_restored(run: Runner, server: LoopbackServer) -> None:
    before = [signal.getsignal(signum) for signum in SIGNALS]
    with Signals():
        assert all(signal.getsignal(signum) not in before for signum in SIGNALS)
    assert [signal.getsignal(signum) for signum in SIGNALS] == before


@needs_signals
def test_ignored_signal_stays_ignored(run: Runner) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with Script(log_in, read, send_signal(signal.SIGTERM), accept) as script:
            assert run.logged_in(script.port, *MESSAGE)[0] == 0
    finally:
        signal.signal(signal.SIGTERM, before)
