"""A sender, a bulk and a listener while a server freezes, vanishes, or is killed and started."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import ExitStack
from typing import Callable, Dict, List, NamedTuple, Optional

import pytest

from amiclient import (
    ACCEPTED,
    FAILED,
    NOT_SENT,
    UNKNOWN,
    Action,
    AMIError,
    Client,
    ConnectionLost,
    MessageSend,
)
from tests.faults import Proxy, start_thread
from tests.live.asterisk import AsteriskServer
from tests.live.servers import Live
from tests.live.test_client_live import client_of

#: Seconds for a call, without data before a health check, and of the fault.
_TIMEOUT, _INTERVAL, _FAULT = 1.0, 0.5, 3.0

#: Seconds that a busy machine may be late.
_LATE = 1.0

_WINDOW = 8


class Seen(NamedTuple):
    """The result of a call, as its caller saw it.

    :ivar end: the monotonic time at which the call, or the wait for a result, ended.
    :ivar seconds: how long it took.
    :ivar number: of the message; None for a bulk that could not connect, and for the listener.
    """

    end: float
    seconds: float
    number: Optional[int]
    outcome: str
    error: Optional[AMIError]


class _Callers:
    """Three threads that use a client, or one client each, until :meth:`stop`."""

    def __init__(self, to: str, make: Callable[[], Client], shared: bool) -> None:
        self._to = to
        first = make()
        self.clients = [first] * 3 if shared else [first, make(), make()]
        self.seen: Dict[str, List[Seen]] = {"sender": [], "bulk": [], "listener": []}
        self.ticks: List[float] = []
        self._stop = threading.Event()
        self._threads = [
            start_thread(lambda: self._repeat("sender", self._send)),
            start_thread(lambda: self._repeat("bulk", self._send_many)),
            start_thread(lambda: self._repeat("listener", self._listen)),
        ]

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads[:2]:
            thread.join()
        for client in self.clients:
            client.close()
        self._threads[2].join()

    def _repeat(self, name: str, call: Callable[[], None]) -> None:
        while not self._stop.wait(0.02):
            start = time.monotonic()
            try:
                call()
            except AMIError as error:
                if not self._stop.is_set():
                    number = len(self.seen[name]) if name == "sender" else None
                    self._note(name, start, number, error.outcome, error)

    def _note(
        self,
        name: str,
        start: float,
        number: Optional[int],
        outcome: str,
        error: Optional[AMIError],
    ) -> None:
        end = time.monotonic()
        self.seen[name].append(Seen(end, end - start, number, outcome, error))

    def _send(self) -> None:
        start, number = time.monotonic(), len(self.seen["sender"])
        receipt = self.clients[0].send_message(self._to, f"sender {number}")
        self._note("sender", start, number, receipt.outcome, None)

    def _send_many(self) -> None:
        first = len(self.seen["bulk"])
        messages = [MessageSend(self._to, f"bulk {first + n}") for n in range(40)]
        start = time.monotonic()
        for number, result in enumerate(self.clients[1].send_messages(messages, window=_WINDOW)):
            self._note("bulk", start, first + number, result.outcome, result.error)
            start = time.monotonic()
            time.sleep(0.005)

    def _listen(self) -> None:
        for event in self.clients[2].events(timeout=None):
            if event.headers.get("UserEvent") == "Tick":
                self.ticks.append(time.monotonic())


@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize("fault", ["frozen", "black-hole", "killed"])
def test_callers_of_a_lost_connection(live: Live, fault: str, shared: bool) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(live.another_server())
        proxy = stack.enter_context(Proxy(server.port))

        def make() -> Client:
            return client_of(
                server, "admin", port=proxy.port if fault == "black-hole" else server.port,
                timeout=_TIMEOUT, health_check_interval=_INTERVAL, events="user",
            )  # fmt: skip

        callers = _Callers(live.to, make, shared)
        stack.callback(callers.stop)
        time.sleep(0.5)
        start = time.monotonic()
        _begin(fault, server, proxy)
        time.sleep(_FAULT)
        still = time.monotonic()
        _end(fault, server, proxy)
        end = time.monotonic()
        # The calls in progress may still fail; then all work again.
        time.sleep(_TIMEOUT + _LATE)
        with client_of(server, "admin") as client:
            client.send_action(Action("UserEvent", [("UserEvent", "Tick")]))
        time.sleep(0.2)
        callers.stop()
    seen = callers.seen
    is_killed = fault == "killed"
    for name in ("sender", "bulk"):
        assert {one.outcome for one in seen[name] if one.end < start} == {ACCEPTED}
        assert {one.outcome for one in seen[name] if one.end > end + _TIMEOUT + _LATE} == {ACCEPTED}
        during = [one for one in seen[name] if start < one.end < still]
        assert during[-1].outcome == NOT_SENT
        assert all(one.seconds < _TIMEOUT + _LATE for one in during)
        unknown = [n for n, one in enumerate(seen[name]) if one.outcome == UNKNOWN]
        assert len(unknown) <= (1 if name == "sender" else _WINDOW)
        assert not unknown or unknown[-1] - unknown[0] < len(unknown), "in one go"
        for one in seen[name]:
            if one.outcome == FAILED:  # the server is starting
                assert is_killed and one.error is not None and one.error.retryable
    lost = [one for one in seen["listener"] if isinstance(one.error, ConnectionLost)]
    assert len(lost) == 1
    assert 0.0 < lost[0].end - start < (0.0 if is_killed else _INTERVAL + _TIMEOUT) + _LATE
    assert {one.outcome for one in seen["listener"]} <= {UNKNOWN, NOT_SENT}
    assert len(callers.ticks) == 1
    _check_phone(live, seen)


def _begin(fault: str, server: AsteriskServer, proxy: Proxy) -> None:
    if fault == "frozen":
        server.send_signal(signal.SIGSTOP)
    elif fault == "black-hole":
        proxy.drop_packets()
    else:
        server.kill()


def _end(fault: str, server: AsteriskServer, proxy: Proxy) -> None:
    if fault == "frozen":
        server.send_signal(signal.SIGCONT)
    elif fault == "black-hole":
        proxy.drop_packets(False)
    else:
        server.start()


def _check_phone(live: Live, seen: Dict[str, List[Seen]]) -> None:
    by_outcome: Dict[str, List[str]] = {ACCEPTED: [], UNKNOWN: [], NOT_SENT: [], FAILED: []}
    for name in ("sender", "bulk"):
        for one in seen[name]:
            by_outcome[one.outcome].append(f"{name} {one.number}")
    arrived = live.phone.wait_for(len(by_outcome[ACCEPTED]))
    time.sleep(0.3)
    texts = [message.body.decode() for message in [*arrived, *live.phone.drain()]]
    assert len(texts) == len(set(texts)), "a message was sent twice"
    assert set(by_outcome[ACCEPTED]) <= set(texts)
    assert set(texts) <= {*by_outcome[ACCEPTED], *by_outcome[UNKNOWN]}
