"""The command ``python3 -m amiclient``: for each error one line and a code, never a traceback."""

from __future__ import annotations

import io
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple, Type

import pytest

from amiclient import MessageSend, errors
from amiclient.__main__ import _exit_code, main
from amiclient.loopback import SECRET, USERNAME, LoopbackServer
from amiproto import AMIError, BodyTooLong, LoginRefused
from tests.faults import OTHER_PEM, SERVER_PEM, Peer, Script, response, server_tls

_ROOT = str(Path(__file__).resolve().parent.parent)
_MESSAGE = ["--to", "pjsip:alice", "--body", "hello"]


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as loopback:
        yield loopback


def _environment(port: int = 0, **more: str) -> Dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AMI_")}
    kept.update(AMI_USERNAME=USERNAME, AMI_SECRET=SECRET)
    if port:
        kept["AMI_PORT"] = str(port)
    kept.update(more)
    return kept


def _command(*arguments: str) -> List[str]:
    return [sys.executable, "-W", "error", "-bb", "-m", "amiclient", *arguments]


def _process(
    *arguments: str, env: Mapping[str, str], stdin: bytes = b"", **options: Any
) -> Tuple[int, str, str]:
    done = subprocess.run(
        _command(*arguments), cwd=_ROOT, env=dict(env), input=stdin, timeout=60,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def _one_line(code: int, expected: int, err: str, *words: str) -> None:
    assert code == expected, err
    assert err.startswith("amisend: ") and err.count("\n") == 1 and err.endswith("\n"), err
    assert "Traceback" not in err
    for word in words:
        assert word in err


# -- The five errors, and what else can go wrong, each by a process of its own.


def test_a_wrong_secret(server: LoopbackServer) -> None:
    env = _environment(server.port, AMI_SECRET="wr0ng")
    code, out, err = _process(*_MESSAGE, env=env)
    _one_line(code, 7, err, "Authentication failed")
    assert out == "" and "wr0ng" not in err


def test_no_server_listening() -> None:
    with Script(Peer.swallow) as script:
        port = script.port
    code, out, err = _process(*_MESSAGE, env=_environment(port))
    _one_line(code, 4, err, f"127.0.0.1 port {port}", "manager.conf")


def test_a_server_that_closes_at_once() -> None:
    with Script(lambda peer: None) as script:
        code, out, err = _process(*_MESSAGE, env=_environment(script.port))
    _one_line(code, 5, err, "closed the connection before the login")


def test_a_server_that_never_answers() -> None:
    with Script(Peer.swallow) as script:
        start = time.monotonic()
        code, out, err = _process(*_MESSAGE, "--timeout", "0.3", env=_environment(script.port))
        assert time.monotonic() - start < 5.0
    _one_line(code, 6, err, "in time")


def test_an_answer_of_error() -> None:
    def talk(peer: Peer) -> None:
        peer.log_in()
        # Such texts can end in a stray LF; still it is one line.
        peer.send(response(peer.read(), "Error", "Message: Message failed to send.\n"))

    with Script(talk) as script:
        code, out, err = _process(*_MESSAGE, env=_environment(script.port))
    _one_line(code, 1, err, "Message failed to send.")


def test_no_answer_to_the_message() -> None:
    def talk(peer: Peer) -> None:
        peer.log_in()
        peer.read()

    with Script(talk) as script:
        code, out, err = _process(*_MESSAGE, env=_environment(script.port))
    _one_line(code, 8, err, "may have been carried out")


def test_no_manager() -> None:
    with Script(lambda peer: peer.send(b"SSH-2.0-OpenSSH_9.2\r\n")) as script:
        code, out, err = _process(*_MESSAGE, env=_environment(script.port))
    _one_line(code, 4, err, "not the banner")


def test_a_message_that_cannot_be_sent(server: LoopbackServer) -> None:
    env = _environment(server.port)
    for arguments in (
        ["--to", "pjsip:alice", "--body", "x" * 1017],
        ["--to", "pjsip:alice\r\n\r\nAction: Ping", "--body", "x"],
        ["--to", "pjsip:\udcff", "--body", "x"],
    ):
        code, out, err = _process(*arguments, env=env)
        _one_line(code, 3, err)
    assert server.messages == []


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_interrupted() -> None:
    with Script(Peer.swallow) as script:
        process = subprocess.Popen(
            _command(*_MESSAGE), cwd=_ROOT, env=_environment(script.port), stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + 20.0
        while not script.peers and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=20)[1].decode()
    _one_line(process.returncode, 130, err, "interrupted")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_an_answer_that_cannot_be_shown(server: LoopbackServer) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            _command(*_MESSAGE), cwd=_ROOT, env=_environment(server.port), stdout=full,
            stderr=subprocess.PIPE, timeout=60,
        )  # fmt: skip
    _one_line(done.returncode, 8, done.stderr.decode(), "cannot be shown")
    assert len(server.messages) == 1


def test_what_is_shown_when_it_worked(server: LoopbackServer) -> None:
    code, out, err = _process(*_MESSAGE, env=_environment(server.port))
    (message,) = server.messages
    assert (code, err) == (0, "")
    assert out == f"Message successfully sent (ActionID {message.action_id})\n"


def test_the_body_from_standard_input_byte_for_byte(server: LoopbackServer) -> None:
    body = " two\r\nlines, 世界 \xff\n".encode("latin-1", "replace") + b"\xff\x80\n"
    code, out, err = _process("--to", "pjsip:alice", env=_environment(server.port), stdin=body)
    assert (code, err) == (0, "")
    assert server.messages[0].body == body


def test_loopback_shows_what_it_received() -> None:
    code, out, err = _process(
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

Run = Callable[..., Tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command here; gives exit code, output and errors."""
    for name in [name for name in os.environ if name.startswith("AMI_")]:
        monkeypatch.delenv(name)

    def call(*arguments: str, **environment: str) -> Tuple[int, str, str]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        try:
            code: Optional[int] = main(list(arguments))
        except SystemExit as error:
            assert isinstance(error.code, int)
            code = error.code
        assert code is not None
        return (code, *capsys.readouterr())

    return call


def test_bad_usage(run: Run, tmp_path: Path) -> None:
    for arguments, words in (
        ([], "--to"),
        (["--to", "sip:a", "--nonsense"], "--nonsense"),
        (["--to", "sip:a", "--port", "x"], "--port"),
        (["--to", "sip:a", "--timeout", "soon"], "--timeout"),
        (["--to", "sip:a", "--variable", "no equals sign"], "NAME=VALUE"),
        (_MESSAGE, "--username"),
        ([*_MESSAGE, "--username", "me"], "--secret-file"),
    ):
        code, out, err = run(*arguments)
        assert code == 2 and words in err and out == ""
    for port in ("x", "5038 "):
        assert run(*_MESSAGE, AMI_PORT=port)[0] in (2, 4)


def test_help_names_every_exit_code(run: Run) -> None:
    code, out, err = run("--help")
    assert code == 0
    for number in range(9):
        assert f"\n  {number}  " in out


def test_every_error_has_its_exit_code() -> None:
    expected: Dict[Type[AMIError], int] = {
        errors.Refused: 1, BodyTooLong: 3, errors.ConnectError: 4, errors.TLSError: 4,
        errors.NotAManager: 4, errors.ServerClosed: 5, errors.ConnectTimeout: 6,
        errors.SendTimeout: 6, errors.NotConnected: 6, LoginRefused: 7, errors.ConnectionLost: 8,
        errors.AnswerTimeout: 8, errors.OutcomeUnknown: 8,
    }  # fmt: skip
    for kind, code in expected.items():
        error = kind.__new__(kind)
        AMIError.__init__(error, "x")
        assert _exit_code(error) == code, kind


def test_a_secret_from_a_file(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    with LoopbackServer(users={"me": "t0p s3cret "}) as server:
        options = [*_MESSAGE, "--username", "me", "--port", str(server.port), "--secret-file"]
        for text in (b"t0p s3cret ", b"t0p s3cret \n", b"t0p s3cret \r\n"):
            secret.write_bytes(text)
            assert run(*options, str(secret))[0] == 0
        secret.write_bytes(b"t0p s3cret")
        code, out, err = run(*options, str(secret))
        _one_line(code, 7, err)
        assert "t0p" not in err
        code, out, err = run(*options, str(tmp_path / "missing"))
        _one_line(code, 2, err, "missing")
        code, out, err = run(*options, str(tmp_path))
        _one_line(code, 2, err)
    # The file goes before the environment, and an option before its variable.
    with LoopbackServer() as server:
        secret.write_text(SECRET)
        code, out, err = run(
            *_MESSAGE, "--secret-file", str(secret), "--host", "127.0.0.1", "--port",
            str(server.port), AMI_SECRET="wrong", AMI_USERNAME=USERNAME, AMI_HOST="no.such.invalid",
            AMI_PORT="1",
        )  # fmt: skip
        assert code == 0, err


def test_the_environment(run: Run, server: LoopbackServer) -> None:
    code, out, err = run(
        *_MESSAGE, AMI_HOST="127.0.0.1", AMI_PORT=str(server.port), AMI_USERNAME=USERNAME,
        AMI_SECRET=SECRET,
    )  # fmt: skip
    assert code == 0, err
    # An empty variable is none.
    code, out, err = run(*_MESSAGE, "--loopback", AMI_HOST="", AMI_PORT="", AMI_SECRET="")
    assert code == 0, err


@pytest.mark.parametrize("option", [["--tls"], ["--cafile", SERVER_PEM]])
def test_loopback_has_no_tls(run: Run, option: List[str]) -> None:
    code, out, err = run(*_MESSAGE, "--loopback", *option)
    assert code == 2 and not out and "leave --tls and --cafile out" in err


def test_a_long_text_in_parts(run: Run) -> None:
    text = "word " * 500
    code, out, err = run("--to", "pjsip:a", "--body", text, "--loopback")
    _one_line(code, 3, err, "split_body")
    code, out, err = run("--to", "pjsip:a", "--body", text, "--split", "--loopback")
    assert code == 0 and out.count("successfully sent") >= 3
    shown = [line for line in out.splitlines() if line.startswith("  Body: ")]
    assert len(shown) == out.count("successfully sent")


def test_a_body_that_is_no_text(
    run: Run, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--to", "pjsip:a", "--port", str(server.port), "--split"]
    login = {"AMI_USERNAME": USERNAME, "AMI_SECRET": SECRET}
    code, out, err = run(*options, "--body", os.fsdecode(b"caf\xe9"), **login)
    assert code == 0, err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n")))
    code, out, err = run(*options)
    assert code == 0, err
    assert [message.body for message in server.messages] == [b"caf\xe9", b"\xff\n"]


class _Broken(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        raise OSError("the disk is on fire")


def test_standard_input_that_cannot_be_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    code, out, err = run("--to", "pjsip:a", "--loopback")
    _one_line(code, 2, err, "standard input")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(_Broken())))
    code, out, err = run("--to", "pjsip:a", "--loopback")
    _one_line(code, 2, err, "on fire")


def test_interrupted_here(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: object, buffer: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(_Broken, "readinto", interrupt)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(_Broken())))
    code, out, err = run("--to", "pjsip:a", "--loopback")
    _one_line(code, 130, err, "interrupted")


@pytest.mark.skipif(os.name != "posix", reason="needs a broken pipe")
def test_a_closed_pipe(run: Run, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", pipe)
        code, out, err = run(
            *_MESSAGE, "--port", str(server.port), AMI_USERNAME=USERNAME, AMI_SECRET=SECRET
        )
        _one_line(code, 8, err, "cannot be shown")
    assert len(server.messages) == 1


def test_a_stream_that_cannot_be_reconfigured(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    assert run(*_MESSAGE, "--loopback")[0] == 0
    assert "  Body: 'hello'\n" in shown.getvalue()


def test_tls(run: Run) -> None:
    with LoopbackServer(tls=server_tls()) as server:
        options = [*_MESSAGE, "--port", str(server.port), "--host", "localhost"]
        login = {"AMI_USERNAME": USERNAME, "AMI_SECRET": SECRET}
        assert run(*options, "--cafile", SERVER_PEM, **login)[0] == 0
        for wrong in (["--tls"], ["--cafile", OTHER_PEM]):
            code, out, err = run(*options, *wrong)
            _one_line(code, 4, err, "not trusted")
        # An empty or missing file must not mean a connection in the clear.
        for missing in ("", "no such file"):
            code, out, err = run(*options, "--cafile", missing)
            _one_line(code, 4, err, "no certificate can be read")
        assert len(server.messages) == 1
        assert isinstance(server.messages[0], MessageSend)


def test_everything_that_can_be_said_of_a_message(run: Run) -> None:
    code, out, err = run(
        "--to", "sip:alice@example.org", "--from", "Door <sip:door@example.org>", "--body", "x",
        "--variable", "X-A=1", "--variable", "X-B=2=3", "--destination", "pjsip:bob", "--loopback",
    )  # fmt: skip
    assert code == 0, err
    for line in ("From: Door <sip:door@example.org>", "Destination: pjsip:bob", "X-B=2=3"):
        assert line in out


def test_the_module_runs_as_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "amiclient.__main__")
    monkeypatch.setattr(sys, "argv", ["amisend", *_MESSAGE, "--loopback"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("amiclient", run_name="__main__")
    assert caught.value.code == 0
