"""Running the command in tests, in a process of its own or in this one."""

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


def environment(port: int = 0, **more: str) -> Dict[str, str]:
    """An environment with the loopback server's user, and with no settings of the tester's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AMI_")}
    kept.update(AMI_USERNAME=USERNAME, AMI_SECRET=SECRET, XDG_CONFIG_HOME=os.devnull)
    if port:
        kept["AMI_PORT"] = str(port)
    kept.update(more)
    return kept


def command(*arguments: str) -> List[str]:
    """The words that start the command in an interpreter that lets no warning pass."""
    return [sys.executable, "-W", "error", "-bb", "-m", "amiclient", *arguments]


def process(
    *arguments: str, env: Mapping[str, str], stdin: bytes = b"", **options: Any
) -> Tuple[int, str, str]:
    """Exit code, output and errors of the command in a process of its own."""
    done = subprocess.run(
        command(*arguments), cwd=ROOT, env=dict(env), input=stdin, timeout=60,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def one_line(code: int, expected: int, err: str, *words: str) -> None:
    """Check that the command ended with such a code and one line of errors with such words."""
    assert code == expected, err
    assert err.startswith("amisend: ") and err.count("\n") == 1 and err.endswith("\n"), err
    assert "Traceback" not in err
    for word in words:
        assert word in err


class Screen(io.StringIO):
    """A stream as who reads it sees it: ``seen`` has only what was flushed.

    :param is_terminal: whether it says that it is one.
    """

    def __init__(self, is_terminal: bool = False) -> None:
        super().__init__()
        self._is_terminal = is_terminal
        self.seen = ""

    def isatty(self) -> bool:
        return self._is_terminal

    def flush(self) -> None:
        self.seen = self.getvalue()


class Runner:
    """Runs the command in this process, where coverage sees it, with no settings of the tester's.

    Called with its arguments, and with variables of the environment by name; gives exit code,
    output and errors.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        for name in [name for name in os.environ if name.startswith("AMI_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("XDG_CONFIG_HOME", os.devnull)

    def __call__(self, *arguments: str, **variables: str) -> Tuple[int, str, str]:
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

    def logged_in(self, port: int, *arguments: str) -> Tuple[int, str, str]:
        """The same with what the loopback server at a port asks for."""
        return self(*arguments, AMI_PORT=str(port), AMI_USERNAME=USERNAME, AMI_SECRET=SECRET)


def signal_here(signum: signal.Signals) -> Step:
    """A step of a scripted server: a signal to this process, in which the command runs."""
    return lambda peer: os.kill(os.getpid(), signum)
