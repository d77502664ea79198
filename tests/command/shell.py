"""Helpers that run the command, in a separate process or in this one."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from typing import Any, Dict, Iterator, List, Mapping, Optional, TextIO, Tuple

import pytest

from amiclient.__main__ import main
from amiclient.command import config
from amiclient.loopback import SECRET, USERNAME
from tests.readme import ROOT
from tests.script import Step

MESSAGE = ["--to", "pjsip:alice", "--body", "hello"]

#: The user and secret of the loopback server.
LOGIN = {"AMI_USERNAME": USERNAME, "AMI_SECRET": SECRET}

#: The signals that the command handles.
SIGNALS = [
    getattr(signal, name) for name in ("SIGHUP", "SIGINT", "SIGTERM") if hasattr(signal, name)
]

#: Exit code, output and errors.
Result = Tuple[int, str, str]

needs_full_device = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
needs_signals = pytest.mark.skipif(os.name != "posix", reason="needs signals and pipes")


def environment(port: int = 0, **more: str) -> Dict[str, str]:
    """Return an environment without the tester's settings, with the loopback server's login."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AMI_")}
    env.update(LOGIN, AMI_CONFIG=os.devnull)
    if port:
        env["AMI_PORT"] = str(port)
    env.pop("PYTHONUNBUFFERED", None)
    env.update(more)
    return env


def command(*arguments: str) -> List[str]:
    """Return the command line for a process in which every warning is an error."""
    return [sys.executable, "-W", "error", "-bb", "-m", "amiclient", *arguments]


def run_process(*arguments: str, env: Mapping[str, str], **options: Any) -> Result:
    """Run the command in a separate process."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    done = subprocess.run(command(*arguments), cwd=ROOT, env=dict(env), timeout=60, **streams)
    return done.returncode, (done.stdout or b"").decode(), done.stderr.decode()


def assert_one_line(result: Result, code: int, *parts: str) -> None:
    """Check the exit code, and that the errors are one line that contains all parts."""
    ended, out, err = result
    assert ended == code, err
    assert err.startswith("amisend: ") and err.count("\n") == 1 and err.endswith("\n"), err
    assert "Traceback" not in err
    for part in parts:
        assert part in err


@contextmanager
def full_stream() -> Iterator[TextIO]:
    """A text stream to which nothing can be written."""
    stream = open("/dev/full", "w")
    try:
        yield stream
    finally:
        with suppress(OSError):
            stream.close()


class Screen(io.StringIO):
    """A stream with its flushed content in ``seen``."""

    seen = ""

    def flush(self) -> None:
        self.seen = self.getvalue()


class Runner:
    """Runs the command in this process, without the tester's settings.

    Call it with the arguments, and with environment variables as keyword arguments.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        for name in [name for name in os.environ if name.startswith("AMI_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("XDG_CONFIG_HOME", os.devnull)
        monkeypatch.setattr(config, "SYSTEM_FILE", os.devnull)

    def __call__(self, *arguments: str, **variables: str) -> Result:
        # The command leaves its handlers after a signal, and replaces a stream that fails.
        handlers = {signum: signal.getsignal(signum) for signum in SIGNALS}
        with self._monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            for stream in ("stdout", "stderr"):
                patch.setattr(sys, stream, getattr(sys, stream))
            try:
                code: object = main(list(arguments))
            except SystemExit as error:
                code = error.code
            finally:
                for signum, handler in handlers.items():
                    signal.signal(signum, handler)
        assert isinstance(code, int)
        out, err = self._capsys.readouterr()
        return code, out, err

    def logged_in(self, port: int, *arguments: str) -> Result:
        """Run the command with the port and the login of a loopback server."""
        return self(*arguments, AMI_PORT=str(port), **LOGIN)


def send_signal(signum: Optional[signal.Signals]) -> Step:
    """Return a step of a scripted server: send a signal to the main thread of this process."""
    return lambda peer: signal.pthread_kill(threading.main_thread().ident or 0, signum or 0)
