"""Signal handlers that raise, or use the client, in the middle of a call.

Timers would interrupt a call at random places. A trace function raises at the first bytecode
instead, then at the second, and so on to the end of the call. After each interrupt the lock must be
free, nothing of the call may be sent later, and a connection in an unknown state must be closed.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import signal
import sys
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from traceback import walk_stack
from types import CodeType, FrameType
from typing import Any, Callable, Dict, List, Optional, Tuple, Type, Union

import pytest

import amiclient
import amiproto
from amiclient import (
    ACCEPTED,
    UNKNOWN,
    AMIError,
    Client,
    ConnectionLost,
    MessageSend,
    NotConnected,
    ReentrantCall,
    _connect,
)
from amiclient._connection import AMIConnection, Call, ClientState
from amiclient._pipeline import SendPipeline
from amiclient._transport import Deadline, Transport, Waker
from amiclient.loopback import Delay, LoopbackServer
from tests.certificates import SERVER_PEM, server_tls
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
    respond,
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


#: The number of exceptions raised by each test with two signals.
_SIGNALS = 5000 if os.environ.get("AMICLIENT_THOROUGH") else 150


class Interrupt(BaseException):
    """Like KeyboardInterrupt, which pytest would handle itself."""


class _Alarm(TimeoutError):
    """The usual exception of a handler of SIGALRM; a socket raises others of its base class."""


class _Again(InterruptedError):
    """The same for a base class that makes the transport write again."""


class _Reentrant(ReentrantCall):
    """The exception of a handler that uses the client and does not catch its error."""


#: The exceptions that the handlers of two signals raise.
_SIGNALLED = (Interrupt, _Alarm, _Again, _Reentrant, RuntimeError)


def _interrupt() -> None:
    raise Interrupt


def _run(
    number: int,
    call: Callable[[], object],
    handler: Callable[[], None] = _interrupt,
    code: Optional[CodeType] = None,
) -> Tuple[int, Optional[BaseException]]:
    """Run a call, with a handler at one of its bytecodes; return their number, and the error.

    With ``code``, only the bytecodes of that function count.
    """
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
        if not frame.f_code.co_filename.startswith(_FOLDERS) or code not in (None, frame.f_code):
            return None
        frame.f_trace_opcodes = _EVENT == "opcode"
        frame.f_trace_lines = _EVENT == "line"
        return in_frame

    old = sys.gettrace()
    sys.settrace(at_call)
    try:
        call()
        return seen, None
    except (*_SIGNALLED, AMIError) as error:
        return seen, error.with_traceback(None)  # its frames would keep objects of the call alive
    finally:
        sys.settrace(old)


def _respond(peer: Peer) -> None:
    """Accept an action and send an event; do not respond to a message to pjsip:silent."""
    action = peer.read_action()
    if action.get("To") == "pjsip:silent":
        leave_pending(peer)
    elif action["Action"] == "Logoff":
        respond("Goodbye")(peer)
    else:
        in_one_write(accept, send(b"Event: Tick\r\n\r\n"))(peer)


def _bodies(script: Script) -> List[str]:
    return [action["Body"] for action in script.actions if action["Action"] == "MessageSend"]


def _pings(script: Script) -> int:
    return [action["Action"] for action in script.actions].count("Ping")


def _check_queue(client: Client) -> None:
    """Check that the next call sends nothing of an earlier one."""
    connection = client._state().connection
    if client.connected and connection is not None:
        connection._remove_unwanted()
        assert not connection._send_queue


class _Case:
    """A client of a scripted server, and calls to interrupt again and again."""

    def __init__(self, script: Script, tls: Union[bool, str] = False) -> None:
        self.client = client_of(script.port, tls=tls, events="on")
        self.script = script
        self.count = 0
        #: Whether the last interrupt struck while the connection was in use.
        self.used = False
        self.connect = self.client.connect
        self.close = self.client.close
        self.logoff = self.client.logoff

    def body(self) -> str:
        self.count += 1
        return f"message {self.count}"

    def send_message(self) -> None:
        self.client.send_message("pjsip:a", self.body())

    def send_in_vain(self) -> None:
        self.client.send_message("pjsip:silent", self.body(), timeout=0.002)

    def send_messages(self) -> None:
        messages = [MessageSend("pjsip:a", self.body()) for _ in range(3)]
        for result in self.client.send_messages(messages, window=2):
            assert result.receipt is not None
            assert result.message.text in _bodies(self.script)

    def events(self) -> None:
        events = self.client.events(timeout=0.002)
        next(events, None)
        next(events, None)

    def handle(self) -> None:
        stack = list(walk_stack(sys._getframe(1)))
        if not any(frame.f_code.co_name == "__del__" for frame, _ in stack):
            users = [frame.f_locals.get("self") for frame, _ in stack]
            self.used = any(isinstance(user, AMIConnection) for user in users)
        raise Interrupt

    def prepare(self) -> None:
        if not self.client.connected:
            self.client.connect()

    def check(self, number: int) -> None:
        """Check the client after an interrupt, and that the next call works."""
        assert not (self.used and self.client.connected), number
        _check_queue(self.client)
        pings = _pings(self.script)
        try:
            self.client.ping(timeout=5.0)
        except NotConnected:
            self.client.connect()
            self.client.ping(timeout=5.0)
        assert self.client.connected and _pings(self.script) == pings + 1

    def interrupt(self, call: Callable[[], object], stride: int) -> None:
        """Interrupt a call at every ``stride``-th bytecode, and check the client each time."""
        self.prepare()
        length, _ = _run(0, call)
        assert length > (50 if _EVENT == "opcode" else 20)
        number, interrupts = 1, 0
        while True:
            self.prepare()
            self.used = False
            seen, error = _run(number, call, self.handle)
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


@pytest.mark.parametrize("kind", _SIGNALLED)
@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("send_message", Transport.send),
        ("send_message", Transport.receive),
        ("send_message", AMIConnection.wait),
        ("send_messages", SendPipeline._exchange_locked),
        ("connect", _connect.open_transport),
        ("connect", Waker.__init__),
        ("connect", Transport.close),
        ("close", ClientState.close),
        ("close", Transport.close),
        ("close", Waker.wake),
    ],
)
def test_exception_of_a_handler_is_not_taken_for_another(
    name: str, function: Callable[..., object], kind: Type[BaseException]
) -> None:
    def handler() -> None:
        raise kind

    code: CodeType = function.__code__
    with Script(log_in, repeat_forever(_respond)) as script:
        case = _Case(script)
        number = seen = 0
        while seen == number:
            number += 1
            case.prepare()
            seen, error = _run(number, getattr(case, name), handler, code)
            if (name, kind) != ("close", _Reentrant):  # which close() catches
                assert seen < number or type(error) is kind
            case.check(number)
        assert number > 2
        case.client.close()
    gc.collect()  # closes sockets that were not stored yet


def test_reentrant_call_of_a_handler_is_rejected() -> None:
    rejected = 0

    def handler() -> None:
        nonlocal rejected
        try:
            case.client.send_message("pjsip:a", f"inner {number}")
        except ReentrantCall as error:
            assert error.retryable
            rejected += 1

    def call() -> None:
        case.client.send_message("pjsip:a", f"outer {number}")

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


# -- Two interrupts.


def _run_twice(call: Any, *numbers: int) -> Tuple[List[int], Optional[Interrupt]]:
    """Raise at a bytecode of a call, and at a later one while that exception propagates.

    Return the number of bytecodes before each exception and after the last one, and the exception.
    A tracer that raises is removed; when a function is entered or left, a profiler restores it.
    """
    seen = [0]

    def in_frame(frame: FrameType, event: str, _: object) -> Any:
        if event == _EVENT:
            seen[-1] += 1
            if len(seen) <= len(numbers) and seen[-1] == numbers[len(seen) - 1]:
                seen.append(0)
                raise Interrupt
        return in_frame

    def at_call(frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(_FOLDERS) and code is not call.__code__:
            return None
        frame.f_trace_opcodes = _EVENT == "opcode"
        frame.f_trace_lines = _EVENT == "line"
        return in_frame

    def profile(frame: FrameType, event: str, _: object) -> None:
        current = {"call": frame, "return": frame.f_back}.get(event)
        if len(seen) == 2 and current is not None and at_call(current, event, None):
            current.f_trace = in_frame
            sys.settrace(at_call)

    tracer, profiler = sys.gettrace(), sys.getprofile()
    sys.setprofile(profile)
    sys.settrace(at_call)
    try:
        call()
    except Interrupt as error:
        return seen, error
    finally:
        sys.settrace(tracer)
        sys.setprofile(profiler)
    return seen, None


def test_lock_is_free_after_interrupts_at_every_pair_of_bytecodes() -> None:
    # In another thread: an exception raised at the end of an ``except`` block is the current one of
    # its thread from then on, and would become the context of the exceptions of later tests.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_check_pairs_of_bytecodes).result()


def _check_pairs_of_bytecodes() -> None:
    state = ClientState()
    steps: List[int] = []

    def call() -> None:
        with Call(state, Deadline(0.0)):
            steps.append(1)
            steps.append(2)

    in_use = 0  # the number of a bytecode at which the connection is in use
    for leave_claim in (False, True):
        first, second, pairs, marks = 1, 1, 0, 0
        while True:
            if leave_claim:  # for the next call to find
                _run_twice(call, in_use, 1)
                assert state.in_use and state.lock._claims
            steps.clear()
            seen, error = _run_twice(call, first, second)
            assert not state.lock.is_held(), (first, second)
            if steps == [1]:
                assert state.in_use, (first, second)
                in_use = in_use if leave_claim else first
                marks += 1
            call()
            assert not state.in_use and not state.lock._claims
            if len(seen) == 1:
                break
            pairs += len(seen) == 3
            first, second = (first, second + 1) if len(seen) == 3 else (first + 1, 1)
        assert error is None
        assert pairs > marks > (20 if _EVENT == "opcode" else 5)


class _Pauses(threading.Thread):
    """Measures how long the machine did not run this process, which no call can help."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seconds = 0.0
        self.stop = threading.Event()

    def run(self) -> None:
        while True:
            start, used = time.monotonic(), time.process_time()
            if self.stop.wait(0.1):
                return
            # A long computation is not a pause.
            pause = time.monotonic() - start - (time.process_time() - used)
            self.seconds += pause if pause > 0.5 else 0.0


class _Signals:
    """Signals that arrive at random moments of calls; most calls are hit by two of them."""

    def __init__(self, client: Client, is_shared: bool) -> None:
        self.client = client
        self.is_shared = is_shared
        self.chance = random.Random(0)
        self.pauses = _Pauses()
        #: The exceptions raised, and the calls hit by two of them.
        self.raised = self.twice = 0
        self._left = 0
        self._gap = 0.0
        #: Seconds that a call takes, by its name.
        self._length: Dict[str, float] = defaultdict(lambda: 0.004)
        #: The outcome of each message.
        self.outcomes: Dict[str, str] = {}

    def handler(self, number: int, frame: Optional[FrameType]) -> None:
        if not self._left:
            return
        stack = [one.f_code for one, _ in walk_stack(frame)]
        files = [code.co_filename for code in stack]
        if any(code.co_name == "__del__" for code in stack) or logging.__file__ in files:
            # Python ignores the first; in logging, a lock of its own would stay locked.
            signal.setitimer(signal.ITIMER_REAL, 1e-4)
        elif not any(file.startswith(_FOLDERS) for file in files):
            signal.setitimer(signal.ITIMER_REAL, 5e-5)
        else:
            self._left -= 1
            self.raised += 1
            self.twice += not self._left
            if not self._gap:
                os.kill(os.getpid(), signal.SIGTERM)
            else:
                signal.setitimer(signal.ITIMER_REAL, self._gap)
            raise self.chance.choice(_SIGNALLED)

    def text(self) -> str:
        text = f"message {len(self.outcomes)}"
        self.outcomes[text] = UNKNOWN
        return text

    def send_message(self) -> None:
        text = self.text()
        try:
            self.outcomes[text] = self.client.send_message("pjsip:a", text).outcome
        except _SIGNALLED:
            raise
        except AMIError as error:
            self.outcomes[text] = error.outcome
            raise

    def send_messages(self) -> None:
        messages = [MessageSend("pjsip:a", self.text()) for _ in range(8)]
        for result in self.client.send_messages(messages, window=4):
            if not isinstance(result.error, _SIGNALLED):
                self.outcomes[result.message.text] = result.outcome

    def events(self) -> None:
        list(self.client.events(timeout=0.004))

    def use(self) -> None:
        with self.client:
            self.client.ping()

    def interrupt(self) -> None:
        """Make a call that may be interrupted, and then one that has to work."""
        calls = [self.send_message, self.send_messages, self.events, self.use]
        call = self.chance.choice([*calls, self.client.connect, self.client.close])
        length = self._length[call.__name__]
        self._gap = self.chance.choice([0.0, 0.0, 1e-6, 2e-5, 1e-4, 3e-4])
        start = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, self.chance.uniform(2e-6, 1.2 * length))
        try:
            self._left = 2
            call()
            self._left = 0
            self._length[call.__name__] += 0.1 * (time.monotonic() - start - length)
        except (*_SIGNALLED, AMIError):
            self._left = 0
            if not self.is_shared:
                _check_queue(self.client)
            self.next_call()  # while the traceback is alive
        signal.setitimer(signal.ITIMER_REAL, 0)

    def next_call(self) -> None:
        start, pauses = time.monotonic(), self.pauses.seconds
        try:
            self.client.ping()
        except NotConnected:
            self.client.connect()
        self.chance.choice([self.send_message, self.send_messages, self.client.connect])()
        if time.monotonic() - start > 5.0:
            time.sleep(0.2)  # until a pause is counted
            assert time.monotonic() - start - (self.pauses.seconds - pauses) < 5.2


@_needs_signals
@pytest.mark.parametrize(
    ("tls", "delay", "threads"),
    [(False, 0.0, 0), (False, 0.003, 3), (True, 0.0, 3), (True, 0.003, 0)],
)
def test_two_signals_at_random_moments(
    tls: bool, delay: float, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)  # a half-made object
    handlers = {"MessageSend": Delay(delay), "Ping": Delay(delay)} if delay else {}
    with LoopbackServer(tls=server_tls() if tls else None, handlers=handlers) as server:
        client = client_of(server.port, tls=SERVER_PEM if tls else False, events="on")
        target = _SIGNALS // max(1, threads)
        signals = _Signals(client, bool(threads))
        stop = threading.Event()

        def send_beside() -> None:
            while not stop.is_set():
                try:
                    client.send_message("pjsip:a", f"beside {time.monotonic()}", timeout=5.0)
                except AMIError as error:
                    assert not isinstance(error, (*_SIGNALLED, ReentrantCall, TimeoutError))

        beside = [ThreadPoolExecutor(1) for _ in range(threads)]
        old = [signal.signal(one, signals.handler) for one in (signal.SIGALRM, signal.SIGTERM)]
        # As in test_chaos: coverage and callbacks of the garbage collector cannot be interrupted.
        tracer = sys.gettrace()
        sys.settrace(None)
        gc.disable()
        try:
            futures = [pool.submit(send_beside) for pool in beside]
            signals.pauses.start()
            while signals.raised < target:
                signals.interrupt()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old[0])
            signal.signal(signal.SIGTERM, old[1])
            sys.settrace(tracer)
            gc.enable()
            stop.set()
            signals.pauses.stop.set()
        for future in futures:
            future.result(10.0)
        client.connect()
        client.ping()
        client.close()
        gc.collect()
    assert signals.twice > target / 5
    received = [message.text for message in server.messages]
    assert len(received) == len(set(received)), "a message was sent twice"
    for text, outcome in signals.outcomes.items():
        assert outcome == UNKNOWN or (outcome == ACCEPTED) == (text in received), (text, outcome)


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
        proxy.down.stall = None
        client.ping()


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
