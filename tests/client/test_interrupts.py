"""Signal handlers that raise, or use the client, in the middle of a call.

Timers would interrupt a call at random places. A trace function raises at the first bytecode
instead, then at the second, and so on to the end of the call. After each interrupt the lock must be
free, nothing of the call may be sent later, and a connection in an unknown state must be closed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any, Callable, List, Optional, Tuple, Union

import pytest

import amiclient
import amiproto
from amiclient import AMIError, Client, ConnectionLost, MessageSend, NotConnected, ReentrantCall
from amiclient.loopback import LoopbackServer
from tests.certificates import SERVER_PEM
from tests.faults import Proxy, alarm_handler, assert_no_fd_leak, client_of, opened, raise_interrupt
from tests.script import (
    EVENT,
    Peer,
    Script,
    accept,
    in_one_write,
    leave_pending,
    log_in,
    read_until_eof,
    repeat_forever,
    send,
)

#: The trace event to interrupt at. Python 3.12.1 crashes if a tracer of bytecodes raises, and
#: 3.13.0 reports only some bytecodes, so these versions are interrupted at lines.
_EVENT = "opcode" if sys.version_info < (3, 12) else "line"

#: The step between two interrupts. AMICLIENT_EVERY_BYTE=1 interrupts at every bytecode, and
#: AMICLIENT_THOROUGH=1 at twice as many as by default.
_THOROUGH, _DEFAULT = (19, 37) if _EVENT == "opcode" else (2, 3)
_STRIDE = _THOROUGH if os.environ.get("AMICLIENT_THOROUGH") else _DEFAULT
_STRIDE = 1 if os.environ.get("AMICLIENT_EVERY_BYTE") else _STRIDE

_FOLDERS = tuple(str(Path(str(package.__file__)).parent) for package in (amiclient, amiproto))

# A socket that was created but not stored yet is closed with this warning.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning")]

_needs_signals = pytest.mark.skipif(os.name != "posix", reason="needs signals")


class Interrupt(BaseException):
    """Like KeyboardInterrupt, which pytest would handle itself."""


def _interrupt() -> None:
    raise Interrupt


def _run(
    number: int, call: Callable[[], object], handler: Callable[[], None] = _interrupt
) -> Tuple[int, Optional[BaseException]]:
    """Run a call, with a handler at one of its bytecodes; return their number, and the error."""
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
        call()
        return seen, None
    except (Interrupt, AMIError) as error:
        return seen, error.with_traceback(None)  # its frames would keep objects of the call alive
    finally:
        sys.settrace(old)


def _respond(peer: Peer) -> None:
    """Accept an action and send an event; do not respond to a message to sip:silent."""
    if peer.read_action().get("To") == "sip:silent":
        leave_pending(peer)
    else:
        in_one_write(accept, send(b"Event: Tick\r\n\r\n"))(peer)


def _bodies(script: Script) -> List[str]:
    return [action["Body"] for action in script.actions if action["Action"] == "MessageSend"]


def _pings(script: Script) -> int:
    return [action["Action"] for action in script.actions].count("Ping")


class _Case:
    """A client of a scripted server, and calls to interrupt again and again."""

    def __init__(self, script: Script, tls: Union[bool, str] = False) -> None:
        self.client = client_of(script.port, tls=tls, events="on")
        self.script = script
        self.count = 0
        self.connect = self.client.connect
        self.close = self.client.close
        self.logoff = self.client.logoff

    def body(self) -> str:
        self.count += 1
        return f"message {self.count}"

    def send_message(self) -> None:
        self.client.send_message("sip:a", self.body())

    def send_in_vain(self) -> None:
        self.client.send_message("sip:silent", self.body(), timeout=0.002)

    def send_messages(self) -> None:
        messages = [MessageSend("sip:a", self.body()) for _ in range(3)]
        for result in self.client.send_messages(messages, window=2):
            assert result.receipt is not None
            assert result.message.text in _bodies(self.script)

    def events(self) -> None:
        events = self.client.events(timeout=0.002)
        next(events, None)
        next(events, None)

    def prepare(self) -> None:
        if not self.client.connected:
            self.client.connect()

    def check(self, number: int) -> None:
        """Check the client after an interrupt."""
        state = self.client._state()
        assert not state.lock._holder and not state.lock._waiting, number
        connection, transport = state.connection, state.transport
        if not self.client.connected:
            assert transport is None or transport._sock is None or transport._sock.fileno() < 0
            return
        assert connection is not None
        # A queued action would be sent by the next call.
        while connection._cancelled:
            connection._cancel(connection._cancelled.popleft())
        assert not connection._send_queue, number
        pings = _pings(self.script)
        self.client.ping(timeout=5.0)
        assert _pings(self.script) == pings + 1

    def interrupt(self, call: Callable[[], object], stride: int) -> None:
        """Interrupt a call at every ``stride``-th bytecode, and check the client each time."""
        self.prepare()
        length, _ = _run(0, call)
        assert length > (50 if _EVENT == "opcode" else 20)
        number, interrupts = 1, 0
        while True:
            self.prepare()
            seen, error = _run(number, call)
            self.check(number)
            if seen < number:
                break  # the call ended before
            interrupts += isinstance(error, Interrupt)
            del error
            number += stride
        assert interrupts > length / stride / 2


@pytest.mark.parametrize("tls", [False, SERVER_PEM], ids=["plain", "tls"])
@pytest.mark.parametrize(
    "name",
    ["send_message", "send_messages", "send_in_vain", "events", "connect", "close", "logoff"],
)
def test_interrupt_at_every_bytecode(
    name: str, tls: Union[bool, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python ignores exceptions in __del__; pytest would keep them alive.
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    with assert_no_fd_leak(), Script(log_in, repeat_forever(_respond), tls=bool(tls)) as script:
        case = _Case(script, tls)
        # In a separate thread, because such exceptions corrupt the context of their thread.
        with ThreadPoolExecutor(1) as pool:
            call = getattr(case, name)
            pool.submit(case.interrupt, call, _STRIDE * (3 if tls else 1)).result()
        case.client.close()
        assert len(_bodies(script)) == len(set(_bodies(script))), "a message was sent twice"


def test_reentrant_call_of_a_handler_is_rejected() -> None:
    rejected = 0

    def handler() -> None:
        nonlocal rejected
        try:
            case.client.send_message("sip:a", f"inner {number}")
        except ReentrantCall as error:
            assert error.retryable
            rejected += 1

    def call() -> None:
        case.client.send_message("sip:a", f"outer {number}")

    with Script(log_in, repeat_forever(_respond)) as script:
        case = _Case(script)
        case.client.connect()
        number, seen = 1 - 3 * _STRIDE, 1
        while seen >= number:
            number += 3 * _STRIDE
            seen, error = _run(number, call, handler)
            assert error is None
        case.client.close()
    outer = [body for body in _bodies(script) if body.startswith("outer")]
    assert len(outer) == len(set(outer)) == (number - 1) // (3 * _STRIDE) + 1
    inner = [body for body in _bodies(script) if body.startswith("inner")]
    assert len(inner) == len(set(inner)) and len(inner) + rejected == len(outer) - 1
    assert rejected > len(outer) / 3 and inner


# -- Real signals.


@_needs_signals
def test_close_in_a_handler_ends_the_interrupted_call() -> None:
    with Script(log_in, read_until_eof) as script, opened(client_of(script.port, None)) as client:
        with alarm_handler(lambda number, frame: client.close()):
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(ConnectionLost):
                client.ping()
        assert not client.connected


@_needs_signals
@pytest.mark.parametrize("call", [Client.ping, lambda client: next(client.events())])
def test_interrupted_call_closes_connection(
    server: LoopbackServer, call: Callable[[Client], object]
) -> None:
    with Proxy(server.port) as proxy, opened(client_of(proxy.port)) as client:
        proxy.down.stall = len(proxy.down.passed)
        with alarm_handler(raise_interrupt), pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            call(client)
        assert not client.connected
        with pytest.raises(NotConnected):
            client.ping()
        proxy.down.stall = None
        client.connect()


@_needs_signals
def test_interrupt_while_draining_input_closes_connection() -> None:
    def handler(number: int, frame: Optional[FrameType]) -> None:
        # Not in callbacks of Python's threads, where exceptions are ignored; try again later.
        if frame is not None and "ami" in Path(frame.f_code.co_filename).parent.name:
            raise KeyboardInterrupt
        signal.setitimer(signal.ITIMER_REAL, 0.001)

    for _ in range(50):
        with Script(log_in, repeat_forever(send(EVENT * 500))) as script:
            with opened(client_of(script.port)) as client, alarm_handler(handler):
                time.sleep(0.02)  # so that there is much to read
                signal.setitimer(signal.ITIMER_REAL, 0.01)
                with pytest.raises(KeyboardInterrupt) as caught:
                    client.ping()
                assert not client.connected
        if "_drain" in [entry.name for entry in caught.traceback]:
            return
    raise AssertionError("never interrupted while draining")
