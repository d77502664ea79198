"""What searches have found, short runs of both searches, and that each law can be broken.

The long runs: ``python3 tests/fuzz.py --inputs 2000000`` and ``python3 tests/fuzzing/guided.py``.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Set

import pytest

from amiclient.loopback import server as loopback_server
from amiproto import NEED_DATA, Action, ActionResult, Connection, MessageSend, Role, Session
from amiproto.messaging import variables
from tests import fuzz
from tests.fuzzing import guided, kept
from tests.fuzzing.targets import TARGETS, seeds

each_target = pytest.mark.parametrize("name", TARGETS)


def run_known(name: str) -> Set[str]:
    """Run what a search begins with, and what it has found; gives the names of what that saw."""
    seen: Set[str] = set()
    for data in [*seeds(name), *kept.load(name)]:
        print(f"{name}: {data!r}")  # shown for the last one, where it fails
        seen.update(TARGETS[name].run(data))
    return seen


# ---- what was found ----

#: What the inputs of each target have to reach, among others.
REACHED: Dict[str, List[str]] = {
    "client": ["Banner", "Event", "UnknownMessage", "Response", "EndOfStream"],
    "server": ["Action", "InvalidAction", "EndOfStream"],
    "session": [
        "LoggedIn",
        "ActionResult",
        "Event",
        "UnknownMessage",
        "Response",
        "EndOfStream",
        "RemoteProtocolError: the server's lists take over 600 bytes of mem",
    ],
    "message_send": [
        "MessageSend sip",
        "MessageSend pjsip",
        "MessageSend xmpp",
        "InvalidAddress: From",
        "InvalidAddress: Destination",
        "BodyTooLong: Body",
        "LineTooLong: ActionID",
        "TooManyLines: Variable",
    ],
    "loopback": ["Banner", "Response", "EndOfStream"],
}


@each_target
def test_the_laws_hold_for_what_was_found(name: str) -> None:
    seen = run_known(name)
    assert len(kept.load(name)) > 50 and seen >= set(REACHED[name])


def _no_line_feed_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Connection.receive_data

    def receive_data(self: Connection, data: bytes) -> None:
        original(self, data[1:] if data[:1] == b"\n" else data)

    monkeypatch.setattr(Connection, "receive_data", receive_data)


def _each_answer_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Session.next_event
    answers: List[ActionResult] = []

    def next_event(self: Session) -> Any:
        if answers:
            return answers.pop()
        event = original(self)
        if isinstance(event, ActionResult):
            answers.append(event)
        return event

    monkeypatch.setattr(Session, "next_event", next_event)


def _no_backslashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variables, "escape_variable", str)


def _an_error_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(action: Action) -> MessageSend:
        raise IndexError(action.name)

    monkeypatch.setattr(loopback_server, "parse_message_send", parse)


FAULTS: Dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "client": _no_line_feed_in_front,
    "server": _no_line_feed_in_front,
    "session": _each_answer_twice,
    "message_send": _no_backslashes,
    "loopback": _an_error_in_a_thread,
}


@each_target
def test_a_fault_breaks_a_law(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[name](monkeypatch)
    with pytest.raises(AssertionError):
        run_known(name)


def test_inputs_are_written_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "inputs")
    assert kept.load("x") == []
    inputs = [b"", b"'", b'"', b"'\"\\", b"x" * 1000, b"a" + b"\r\n" * 8 + b" * 2"]
    inputs.append(bytes(range(256)))
    assert kept.save("x", inputs) == len(inputs)
    assert sorted(kept.load("x")) == sorted(inputs)
    assert "b'x' * 1000\n" in (tmp_path / "inputs" / "x.txt").read_text()
    assert kept.save("x", [b"%d" % number for number in range(1000)]) == kept.MAX_INPUTS
    assert kept.save("x", [bytes(range(256)) * 100, b"short"]) == 1
    (tmp_path / "inputs" / "x.txt").write_text("bytes(7)\n")
    with pytest.raises(ValueError, match="not an input"):
        kept.load("x")


# ---- the search at random ----


def test_some_thousand_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--inputs", "3000", "--jobs", "1", "--seed", "2"]) == 0
    printed = capsys.readouterr().out
    for name in (
        "Event",
        "Response",
        "UnknownMessage",
        "Action",
        "InvalidAction",
        "ActionResult",
        "EndOfStream",
    ):
        assert f" {name}\n" in printed
    assert "RemoteProtocolError: the server sent a line" in printed
    assert "RemoteProtocolError: the server sent a stanza" in printed
    assert " MessageSend " in printed and " InvalidAddress: " in printed


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
    assert "FAILED: " in printed and "input b'" in printed
    assert ("IndexError: a fault" if fault == "raises" else "never comes to an end") in printed


# ---- the search by coverage ----


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_a_short_search_by_coverage(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, guided.__file__, "--target", "server", "--seconds", "1",
         "--corpus", str(tmp_path)],
        stdout=subprocess.PIPE, universal_newlines=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "server: " in done.stdout and " a second\n" in done.stdout
    assert " reach as much (-merge=1)\n" in done.stdout
    assert len(list((tmp_path / "server").iterdir())) > 50


def test_without_atheris_it_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert guided.main(["--seconds", "1"]) == 1
    assert "pip install atheris" in capsys.readouterr().out
