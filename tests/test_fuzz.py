"""A short run of the fuzzer; the long one is ``python3 tests/fuzz.py --inputs 2000000``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from amiproto import NEED_DATA, Connection, Role
from tests import fuzz


def test_some_thousand_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--inputs", "3000", "--jobs", "1"]) == 0
    printed = capsys.readouterr().out
    for name in ("Event", "Response", "Orphan", "Action", "Malformed", "Answer", "EndOfStream"):
        assert f" {name}\n" in printed
    assert "RemoteProtocolError: the server sent a line" in printed
    assert "RemoteProtocolError: the server sent a stanza" in printed


def test_as_a_script_in_two_processes_and_by_the_clock() -> None:
    done = subprocess.run(
        [sys.executable, fuzz.__file__, "--inputs", "1000000", "--seconds", "1", "--jobs", "2"],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        cwd=str(Path(__file__).resolve().parent),
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert "2 jobs" in done.stdout


@pytest.mark.parametrize("fault", ["raises", "never ends"])
def test_a_fault_is_found_and_told(
    fault: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Connection.next_event

    def next_event(self: Connection) -> object:
        event = original(self)
        if fault == "raises" and "Newexten" in repr(event):
            raise IndexError("a fault")
        if fault == "never ends" and event is NEED_DATA and self.role is Role.SERVER:
            return "again and again"
        return event

    monkeypatch.setattr(Connection, "next_event", next_event)
    assert not fuzz.fuzz(5000, seed=1)
    printed = capsys.readouterr().out
    assert "FAILED: " in printed and "input b'" in printed and "cut at [0" in printed
    assert ("IndexError: a fault" if fault == "raises" else "never comes to an end") in printed
