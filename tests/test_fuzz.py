"""The corpus, short runs of the fuzzer, and a fault for each property to detect."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, Callable, Dict, List, Set

import pytest

from amiclient.loopback import server as loopback_server
from amiproto import NEED_DATA, Action, ActionResult, Connection, MessageSend, Role, Session
from amiproto.messaging import variables
from tests import fuzz
from tests.fuzzing.targets import TARGETS, stored

each_target = pytest.mark.parametrize("name", TARGETS)


def run_corpus(name: str) -> Set[str]:
    """Run the corpus of a target, and return the names that it reaches."""
    reached: Set[str] = set()
    for data in stored(name):
        print(f"{name}: {data!r}")  # shown if the test fails; the last one is the culprit
        reached.update(TARGETS[name].run(data))
    return reached


# ---- the corpus ----

#: Names that each target must reach, among others.
REACHED: Dict[str, List[str]] = {
    "client": ["Banner", "Event", "UnknownMessage", "Response", "EndOfStream"],
    "server": ["Action", "InvalidAction", "EndOfStream"],
    "session": ["LoggedIn", "ActionResult", "Event", "UnknownMessage", "Response", "EndOfStream",
                "RemoteProtocolError limit=600"],
    "message_send": ["MessageSend sip", "MessageSend pjsip", "MessageSend xmpp",
                     "InvalidAddress: From", "InvalidAddress: Destination", "BodyTooLong: Body",
                     "LineTooLong: ActionID", "TooManyLines: Variable"],
    "loopback": ["Banner", "Response", "EndOfStream"],
}  # fmt: skip


@each_target
def test_properties_hold_for_the_corpus(name: str) -> None:
    reached = run_corpus(name)
    assert len(stored(name)) > 50 and reached >= set(REACHED[name])


def _drop_first_line_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Connection.receive_data

    def receive_data(self: Connection, data: bytes) -> None:
        original(self, data[1:] if data[:1] == b"\n" else data)

    monkeypatch.setattr(Connection, "receive_data", receive_data)


def _repeat_results(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Session.next_event
    results: List[ActionResult] = []

    def next_event(self: Session) -> Any:
        if results:
            return results.pop()
        event = original(self)
        if isinstance(event, ActionResult):
            results.append(event)
        return event

    monkeypatch.setattr(Session, "next_event", next_event)


def _raise_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(action: Action) -> MessageSend:
        raise IndexError(action.name)

    monkeypatch.setattr(loopback_server, "parse_message_send", parse)


FAULTS: Dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "client": _drop_first_line_feed,
    "server": _drop_first_line_feed,
    "session": _repeat_results,
    "message_send": lambda patch: patch.setattr(variables, "escape_variable", str),
    "loopback": _raise_in_a_thread,
}


@each_target
def test_properties_detect_faults(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[name](monkeypatch)
    with pytest.raises(AssertionError):
        run_corpus(name)


# ---- random inputs ----


def test_random_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--inputs", "3000", "--jobs", "1", "--seed", "2"]) == 0
    printed = capsys.readouterr().out
    for name in (
        *("Event", "Response", "UnknownMessage", "Action", "InvalidAction", "ActionResult"),
        *("EndOfStream", "RemoteProtocolError limit=30", "RemoteProtocolError limit=60"),
    ):
        assert f" {name}\n" in printed
    assert " MessageSend " in printed and " InvalidAddress: " in printed


def test_script_with_two_processes() -> None:
    command = [sys.executable, fuzz.__file__, "--inputs", "1000", "--jobs", "2"]
    output = subprocess.check_output(command, universal_newlines=True, timeout=120)
    assert "2 jobs" in output


@pytest.mark.parametrize("fault", ["raises", "does not end"])
def test_failing_input_is_printed(
    fault: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Connection.next_event

    def next_event(self: Connection) -> object:
        event = original(self)
        if fault == "raises" and "Newexten" in repr(event):
            raise IndexError("a fault")
        if fault == "does not end" and event is NEED_DATA and self.role is Role.SERVER:
            return "again"
        return event

    monkeypatch.setattr(Connection, "next_event", next_event)
    assert not fuzz.fuzz(5000, seed=1)
    printed = capsys.readouterr().out
    assert "FAILED: " in printed and "input b'" in printed
    assert ("IndexError: a fault" if fault == "raises" else "next_event does not end") in printed
