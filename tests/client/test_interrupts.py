"""An exception of a signal handler at every bytecode of every call, before a server that counts.

Not by timers, which strike where they like: a trace function raises at the first bytecode, then at
the second, and so on to the end of the call. After each, no turn may be taken, nothing of the call
may be left to go, and what is not as before has to be closed.
"""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any, Callable, List, Optional, Tuple, Union

import pytest

import amiclient
import amiproto
from amiclient import AMIError, ConnectionLost, MessageSend, ReentrantCall
from tests.certificates import SERVER_PEM
from tests.faults import alarm_handler, assert_no_fd_leak, client_of, opened
from tests.peer import Peer
from tests.script import (
    Script,
    accept,
    in_one_write,
    leave_pending,
    log_in,
    read_until_eof,
    repeat_forever,
    send,
)

#: Where it is struck. Python 3.12.1 crashes when a tracer of bytecodes raises, and 3.13.0 tells of
#: some of them only: there it is at every line.
_EVENT = "opcode" if sys.version_info < (3, 12) else "line"

#: Every how many of them one is struck. AMICLIENT_EVERY_BYTE=1 leaves none out.
_STRIDE = 1 if os.environ.get("AMICLIENT_EVERY_BYTE") else 19 if _EVENT == "opcode" else 2

_FOLDERS = tuple(str(Path(str(package.__file__)).parent) for package in (amiclient, amiproto))

# A socket that was made and not stored anywhere yet is closed, with this warning.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning")]


class Interrupt(BaseException):
    """As KeyboardInterrupt, which pytest would take for its own."""


def _run_until(number: int, call: Callable[[], object]) -> Tuple[int, Optional[BaseException]]:
    """Run a call and raise at its bytecode of that number; how many there were, and the error."""
    seen = 0

    def in_frame(frame: FrameType, event: str, _: object) -> Any:
        nonlocal seen
        if event == _EVENT:
            seen += 1
            if seen == number:
                raise Interrupt
        return in_frame

    def at_call(frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(_FOLDERS):
            return None
        frame.f_trace_opcodes = _EVENT == "opcode"
        frame.f_trace_lines = _EVENT == "line"
        return in_frame

    old = sys.gettrace()
    sys.settrace(at_call)
    try:
        call()
        return seen, None
    except (Interrupt, AMIError) as error:
        # Its frames hold all that the call had in hand.
        return seen, error.with_traceback(None)
    finally:
        sys.settrace(old)


def _tell(peer: Peer) -> None:
    """Accept an action, with an event after it; or never answer a message to sip:silent."""
    if peer.read_action().get("To") == "sip:silent":
        leave_pending(peer)
    else:
        in_one_write(accept, send(b"Event: Tick\r\n\r\n"))(peer)


def _texts(script: Script) -> List[str]:
    """The texts of all messages that came."""
    return [action["Body"] for action in script.actions if action["Action"] == "MessageSend"]


def _pings(script: Script) -> int:
    return [action["Action"] for action in script.actions].count("Ping")


class _Case:
    """A client before a server, and a call of it that is struck again and again."""

    def __init__(self, script: Script, tls: Union[bool, str]) -> None:
        self.client = client_of(script.port, tls=tls, events="on")
        self.script = script
        self.count = 0

    def text(self) -> str:
        self.count += 1
        return f"message {self.count}"

    def send_message(self) -> None:
        self.client.send_message("sip:a", self.text())

    def send_in_vain(self) -> None:
        self.client.send_message("sip:silent", self.text(), timeout=0.002)

    def send_messages(self) -> None:
        messages = [MessageSend("sip:a", self.text()) for _ in range(3)]
        for result in self.client.send_messages(messages, window=2):
            assert result.receipt is not None
            assert result.message.text in _texts(self.script)

    def events(self) -> None:
        events = self.client.events(timeout=0.002)
        next(events, None)
        next(events, None)

    def connect(self) -> None:
        self.client.connect()

    def close(self) -> None:
        self.client.close()

    def logoff(self) -> None:
        self.client.logoff()

    def prepare(self) -> None:
        if not self.client.connected:
            self.client.connect()

    def check(self, number: int) -> None:
        """What must hold after an interrupt."""
        shared = self.client._state()
        assert not shared.lock._holder and not shared.lock._waiting, number
        link, transport = shared.connection, shared.transport
        if not self.client.connected:
            assert transport is None or transport._sock is None or transport._sock.fileno() < 0
            return
        assert link is not None
        # What is left to go would go with the next call, and be there before it.
        while link._cancelled:
            link._cancel(link._cancelled.popleft())
        assert not link._send_queue, number
        pings = _pings(self.script)
        self.client.ping(timeout=5.0)
        assert _pings(self.script) == pings + 1


def _strike(case: _Case, call: Callable[[], object], stride: int) -> None:
    case.prepare()
    whole, _ = _run_until(0, call)
    assert whole > (50 if _EVENT == "opcode" else 20)
    number, struck = 1, 0
    while True:
        case.prepare()
        seen, error = _run_until(number, call)
        case.check(number)
        if seen < number:
            break  # the call was over before
        struck += isinstance(error, Interrupt)
        del error
        number += stride
    assert struck > whole / stride / 2


_CALLS = ["send_message", "send_messages", "send_in_vain", "events", "connect", "close", "logoff"]


@pytest.mark.parametrize("tls", [False, SERVER_PEM], ids=["plain", "tls"])
@pytest.mark.parametrize("name", _CALLS)
def test_an_interrupt_at_every_bytecode(
    name: str, tls: Union[bool, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python swallows what is raised in __del__; pytest would keep it, and all that it holds.
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    with assert_no_fd_leak(), Script(log_in, repeat_forever(_tell), tls=bool(tls)) as script:
        case = _Case(script, tls)
        # In a thread of its own, which such exceptions leave with a context that is none.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(_strike, case, getattr(case, name), _STRIDE * (3 if tls else 1)).result()
        case.client.close()
        assert len(_texts(script)) == len(set(_texts(script))), "a message was sent twice"


@pytest.mark.parametrize("stride", [_STRIDE * 3])
def test_a_handler_that_calls_the_same_client(stride: int) -> None:
    refused = 0

    def handler() -> None:
        nonlocal refused
        try:
            case.client.send_message("sip:a", f"of the handler {number}")
        except ReentrantCall as error:
            assert error.retryable
            refused += 1

    def run(number: int) -> int:
        seen = 0

        def in_frame(frame: FrameType, event: str, _: object) -> Any:
            nonlocal seen
            if event == _EVENT:
                seen += 1
                if seen == number:
                    sys.settrace(None)
                    handler()
            return in_frame

        def at_call(frame: FrameType, event: str, _: object) -> Any:
            if not frame.f_code.co_filename.startswith(_FOLDERS):
                return None
            frame.f_trace_opcodes = _EVENT == "opcode"
            frame.f_trace_lines = _EVENT == "line"
            return in_frame

        old = sys.gettrace()
        sys.settrace(at_call)
        try:
            case.client.send_message("sip:a", f"outer {number}")
        finally:
            sys.settrace(old)
        return seen

    with Script(log_in, repeat_forever(_tell)) as script:
        case = _Case(script, False)
        case.client.connect()
        number = 1
        while run(number) >= number:
            number += stride
        case.client.close()
    outer = [text for text in _texts(script) if text.startswith("outer")]
    assert len(outer) == len(set(outer)) == (number - 1) // stride + 1
    inner = [text for text in _texts(script) if not text.startswith("outer")]
    assert len(inner) == len(set(inner)) and len(inner) + refused == len(outer) - 1
    assert refused > len(outer) / 3 and inner


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_handler_that_closes_ends_the_call_it_came_into() -> None:
    with Script(log_in, read_until_eof) as script, opened(client_of(script.port, None)) as client:
        with alarm_handler(lambda number, frame: client.close()):
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(ConnectionLost, match="the client was closed"):
                client.ping()
        assert not client.connected
