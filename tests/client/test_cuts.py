"""A whole session whose link is cut, or stalls, after every single byte of either direction.

What the client says became of a message is compared with what the server really got. Apart from
the client's other tests for its size: thousands of sessions.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Iterator, List, NamedTuple, Optional, Tuple

import pytest

from amiclient import (
    NOT_SENT,
    UNKNOWN,
    AMIError,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    NotConnected,
    ResponseTimeout,
    SendFailed,
    TLSError,
)
from amiclient.loopback import LoopbackServer
from tests.certificates import SERVER_PEM, server_tls
from tests.faults import Direction, Proxy, client_of

pytestmark = pytest.mark.slow

#: Seconds of each call where the link stalls.
_TIMEOUT = 0.2

#: How many such sessions run side by side. A loaded machine is late at random, a bug each time:
#: whatever was late runs again, with fewer beside it.
_SIDE_BY_SIDE = (16, 8, 1, 1, 1)

#: A stall costs its time-out, and a TLS session has four times the bytes of a plain one and costs a
#: handshake, so that harm is done after every fifth byte where a plain link stalls, and over TLS
#: after every eleventh where it is cut and every 31st where it stalls; and at each edge of a TLS
#: record, and next to it. AMICLIENT_EVERY_BYTE=1 leaves out no byte.
_EVERY_BYTE = bool(os.environ.get("AMICLIENT_EVERY_BYTE"))
_STALLS = 1 if _EVERY_BYTE else 5
_TLS_CUTS = 1 if _EVERY_BYTE else 11
_TLS_STALLS = 1 if _EVERY_BYTE else 31


class _Step(NamedTuple):
    name: str
    error: Optional[AMIError]
    seconds: float


class _Run(NamedTuple):
    tag: str
    steps: List[_Step]
    up: bytes
    down: bytes


def _session(port: int, tag: str, tls: bool, timeout: float, stop_at_failure: bool) -> List[_Step]:
    client = client_of(port, timeout, tls=SERVER_PEM if tls else False)
    calls: List[Tuple[str, Callable[[], object]]] = [
        ("connect", client.connect),
        ("plain", lambda: client.send_message("pjsip:a", f"{tag} plain", "sip:b@example.org")),
        ("lines", lambda: client.send_message("pjsip:a", f"{tag} lines\nof text")),
        ("variables", lambda: client.send_message("sip:a", f"{tag} variables", None, {"X-A": "b"})),
        ("logoff", client.logoff),
    ]
    steps: List[_Step] = []
    try:
        for name, call in calls:
            start = time.monotonic()
            error: Optional[AMIError] = None
            try:
                call()
            except AMIError as caught:
                error = caught
            steps.append(_Step(name, error, time.monotonic() - start))
            if error is not None and (stop_at_failure or name == "connect"):
                break
    finally:
        client.close()
    return steps


def _run(
    server: LoopbackServer, tag: str, tls: bool, up: Direction, down: Direction,
    timeout: float = 5.0, stop_at_failure: bool = False, reset: bool = False,
) -> _Run:  # fmt: skip
    with Proxy(server.port, up=up, down=down, reset=reset) as proxy:
        steps = _session(proxy.port, tag, tls, timeout, stop_at_failure)
    return _Run(tag, steps, bytes(up.passed), bytes(down.passed))


def _record_edges(data: bytes) -> Iterator[int]:
    position = 0
    while position < len(data):
        yield position
        position += 5 + int.from_bytes(data[position + 3 : position + 5], "big")


def _places(data: bytes, tls: bool, stride: int) -> List[int]:
    """After how many bytes of one direction to do harm; some more than there are, too."""
    if not tls:
        return list(range(0, len(data) + 6, stride))
    places = set(range(0, len(data) + stride, stride))
    for edge in _record_edges(data):
        places.update((edge, edge + 1, edge + 4, edge + 6))
        places.add(max(0, edge - 1))
    return sorted(places)


class _Received:
    """How often each message came to the server; to be asked when the server has ended."""

    def __init__(self, server: LoopbackServer) -> None:
        self.texts = [message.text for message in server.messages]

    def compare(self, run: _Run) -> None:
        for step in run.steps[1:4]:
            count = sum(1 for text in self.texts if text.startswith(f"{run.tag} {step.name}"))
            if step.error is None:
                assert count == 1, (run.tag, step)
            elif step.error.outcome == NOT_SENT:
                assert count == 0, (run.tag, step)
            else:
                assert count <= 1 and step.error.outcome == UNKNOWN, (run.tag, step)
        # And what was never tried was never got.
        tried = len(run.steps)
        for name in ("plain", "lines", "variables")[max(0, tried - 1) :]:
            assert not any(text.startswith(f"{run.tag} {name}") for text in self.texts)


def _check_cut(run: _Run, tls: bool) -> None:
    connect, *calls = run.steps
    if connect.error is not None:
        allowed = (TLSError, SendFailed) if tls else (SendFailed,)
        # A reset can come before the client has seen that the connection was there.
        assert type(connect.error) in (*allowed, ConnectError), connect.error
        assert type(connect.error) in allowed or not run.up, run.tag
        return
    errors = [step.error for step in calls]
    failed = next((index for index, error in enumerate(errors) if error), len(errors))
    for error in errors[failed + 1 :]:
        assert type(error) is NotConnected, (run.tag, errors)
    if not tls:
        # The login takes two of the server's stanzas, the banner being none.
        assert failed <= run.down.count(b"\r\n\r\n") - 2, (run.tag, errors)
    if failed == len(errors):
        return
    expected: Tuple[type, ...] = (SendFailed, ConnectionLost)
    if not tls and not (run.up.endswith(b"\r\n\r\n") and run.down.endswith(b"\r\n\r\n")):
        expected = (ConnectionLost,)  # in the middle of an action, or of its answer
    assert type(errors[failed]) in expected, (run.tag, errors)
    assert all(step.seconds < 2.0 for step in run.steps), run


def _cut(tls: bool, stride: int, reset: bool) -> None:
    runs: List[_Run] = []
    with LoopbackServer(tls=server_tls() if tls else None) as server:
        whole = _run(server, "whole", tls, Direction(), Direction())
        assert [step.error for step in whole.steps] == [None] * 5
        for place in _places(whole.up, tls, stride):
            runs.append(
                _run(server, f"up {place}", tls, Direction(cut=place), Direction(), reset=reset)
            )
        for place in _places(whole.down, tls, stride):
            runs.append(
                _run(server, f"down {place}", tls, Direction(), Direction(cut=place), reset=reset)
            )
    received = _Received(server)
    for run in [whole, *runs]:
        _check_cut(run, tls)
        received.compare(run)
    outcomes = {type(step.error) for run in runs for step in run.steps}
    assert {type(None), SendFailed, ConnectionLost, NotConnected} <= outcomes
    assert (TLSError in outcomes) == tls


def test_a_plain_link_cut_after_every_byte() -> None:
    _cut(tls=False, stride=1, reset=False)


def test_a_plain_link_reset_after_every_seventh_byte() -> None:
    _cut(tls=False, stride=7, reset=True)


def test_a_tls_link_cut_in_and_between_all_records() -> None:
    _cut(tls=True, stride=_TLS_CUTS, reset=False)


def _check_stalled(run: _Run) -> None:
    *before, last = run.steps
    assert all(step.error is None for step in before)
    if last.error is not None:
        expected = ConnectTimeout if last.name == "connect" else ResponseTimeout
        assert type(last.error) is expected, (run.tag, last)


def _is_late(run: _Run) -> bool:
    return any(step.seconds > _TIMEOUT * 1.1 for step in run.steps)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_link_that_stalls_anywhere(tls: bool) -> None:
    with LoopbackServer(tls=server_tls() if tls else None) as server:
        whole = _run(server, "whole", tls, Direction(), Direction())

        def run(job: Tuple[str, int, int]) -> _Run:
            way, place, attempt = job
            tag = f"{way} {place} {attempt}"
            ways = (
                (Direction(stall=place), Direction())
                if way == "up"
                else (Direction(), Direction(stall=place))
            )
            return _run(server, tag, tls, *ways, timeout=_TIMEOUT, stop_at_failure=True)

        stride = _TLS_STALLS if tls else _STALLS
        places = [("up", place) for place in _places(whole.up, tls, stride)]
        places += [("down", place) for place in _places(whole.down, tls, stride)]
        runs: List[_Run] = []
        late = places
        for attempt, width in enumerate(_SIDE_BY_SIDE):
            with ThreadPoolExecutor(width) as pool:
                tried = list(pool.map(run, [(*place, attempt) for place in late]))
            runs += tried
            late = [place for place, one in zip(late, tried) if _is_late(one)]
        assert not late
        assert len(runs) - len(places) < len(places) / 2
    received = _Received(server)
    for one in runs:
        received.compare(one)
        if not _is_late(one):  # such a one can give up before it has sent anything
            _check_stalled(one)
    outcomes = {type(step.error) for one in runs for step in one.steps}
    assert {type(None), ConnectTimeout, ResponseTimeout} <= outcomes
