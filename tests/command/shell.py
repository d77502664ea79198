"""Helpers that run the command, in a separate process or in this one."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from typing import Any, Dict, List, Mapping, Tuple

import pytest

from amiclient.__main__ import main
from amiclient.loopback import SECRET, USERNAME
from tests.readme import ROOT
from tests.script import Step

MESSAGE = ["--to", "pjsip:alice", "--body", "hello"]

#: The user and secret of the loopback server.
LOGIN = {"AMI_USERNAME": USERNAME, "AMI_SECRET": SECRET}

#: Exit code, output and errors.
Result = Tuple[int, str, str]

needs_signals = pytest.mark.skipif(os.name != "posix", reason="needs signals and pipes")


def environment(port: int = 0, **more: str) -> Dict[str, str]:
    """Return an environment without the tester's settings, with the loopback server's login."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AMI_")}
    env.update(LOGIN, XDG_CONFIG_HOME=os.devnull)
    if port:
        env["AMI_PORT"] = str(port)
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


class Screen(io.StringIO):
    """A stream, a terminal or not, with its flushed content in ``seen``."""

    def __init__(self, is_terminal: bool = False) -> None:
        super().__init__()
        self._is_terminal = is_terminal
        self.seen = ""

    def isatty(self) -> bool:
        return self._is_terminal

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

    def __call__(self, *arguments: str, **variables: str) -> Result:
        with self._monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            try:
                code: object = main(list(arguments))
            except SystemExit as error:
                code = error.code
        assert isinstance(code, int)
        out, err = self._capsys.readouterr()
        return code, out, err

    def logged_in(self, port: int, *arguments: str) -> Result:
        """Run the command with the port and the login of a loopback server."""
        return self(*arguments, AMI_PORT=str(port), **LOGIN)


def send_signal(signum: signal.Signals) -> Step:
    """Return a step of a scripted server: send a signal to this process."""
    return lambda peer: os.kill(os.getpid(), signum)
