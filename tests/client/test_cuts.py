"""A session whose connection is cut, or stalls, after every byte of either direction.

The outcomes that the client reports are compared with the messages received by the server.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

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
from tests.faults import Direction, Proxy, client_of, tls_records

pytestmark = pytest.mark.slow

#: Timeout of each call if the connection stalls, in seconds.
_TIMEOUT = 0.2

#: How many stalled sessions run in parallel. Sessions that were late run again, with fewer in
#: parallel, because a loaded machine is late only sometimes.
_PARALLEL = (16, 8, 1, 1, 1)

#: The number of bytes between two cuts or stalls. A stall costs a timeout, and a TLS session a
#: handshake and four times the bytes. With TLS, the edges of all records are added.
#: AMICLIENT_THOROUGH=1 cuts plain connections at every byte and stalls at twice as many places.
#: AMICLIENT_EVERY_BYTE=1 leaves out no byte at all.
_EVERY_BYTE = bool(os.environ.get("AMICLIENT_EVERY_BYTE"))
_THOROUGH = _EVERY_BYTE or bool(os.environ.get("AMICLIENT_THOROUGH"))
_CUTS = 1 if _THOROUGH else 3
_STALLS = 1 if _EVERY_BYTE else 7 if _THOROUGH else 13
_TLS_CUTS = 1 if _EVERY_BYTE else 31 if _THOROUGH else 61
_TLS_STALLS = 1 if _EVERY_BYTE else 97 if _THOROUGH else 197


class _Step(NamedTuple):
    name: str
    error: Optional[AMIError]
    seconds: float


class _Run(NamedTuple):
    tag: str
    steps: List[_Step]
    up: bytes
    down: bytes

    @property
    def is_late(self) -> bool:
        return any(step.seconds > _TIMEOUT * 1.1 for step in self.steps)


def _run(
    server: LoopbackServer, tag: str, tls: bool, faults: Dict[str, Direction],
    timeout: float = 5.0, reset: bool = False, stop_at_failure: bool = False,
) -> _Run:  # fmt: skip
    proxy = Proxy(server.port, up=faults.get("up"), down=faults.get("down"), reset=reset)
    client = client_of(proxy.port, timeout, tls=SERVER_PEM if tls else False)
    calls: List[Tuple[str, Callable[[], object]]] = [
        ("connect", client.connect),
        ("plain", lambda: client.send_message("pjsip:a", f"{tag} plain", "sip:b@example.org")),
        ("lines", lambda: client.send_message("pjsip:a", f"{tag} lines\nof text")),
        (
            "variables",
            lambda: client.send_message("pjsip:a", f"{tag} variables", None, {"X-A": "b"}),
        ),
        ("logoff", client.logoff),
    ]
    steps: List[_Step] = []
    with proxy, closing(client):
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
    return _Run(tag, steps, bytes(proxy.up.passed), bytes(proxy.down.passed))


def _places(run: _Run, tls: bool, stride: int) -> List[Tuple[str, int]]:
    """Return the direction, and the number of bytes, of each fault; some are beyond the end."""
    found = []
    for direction, data in (("up", run.up), ("down", run.down)):
        if tls:
            places = set(range(0, len(data) + stride, stride))
            for edge, *_ in tls_records(data):
                places.update((max(0, edge - 1), edge, edge + 1, edge + 4, edge + 6))
        else:
            places = set(range(0, len(data) + 6, stride))
        found += [(direction, place) for place in sorted(places)]
    return found


def _compare(server: LoopbackServer, runs: List[_Run]) -> None:
    """Compare all outcomes with the messages that a closed server received."""
    texts = [message.text for message in server.messages]
    for run in runs:
        for name in ("plain", "lines", "variables"):
            count = sum(text.startswith(f"{run.tag} {name}") for text in texts)
            step = next((step for step in run.steps if step.name == name), None)
            if step is None or step.error is not None and step.error.outcome == NOT_SENT:
                assert count == 0, (run.tag, step)
            elif step.error is None:
                assert count == 1, (run.tag, step)
            else:
                assert count <= 1 and step.error.outcome == UNKNOWN, (run.tag, step)


def _check_cut(run: _Run, tls: bool) -> None:
    connect, *calls = run.steps
    no_connection = (TLSError, ConnectError) if tls else (ConnectError,)
    if connect.error is not None:
        assert type(connect.error) in no_connection and connect.error.retryable, run.tag
        return
    errors = [step.error for step in calls]
    failed = next((index for index, error in enumerate(errors) if error), len(errors))
    for error in errors[failed + 1 : -1]:
        assert type(error) in no_connection, (run.tag, errors)  # every new connection is cut
    assert failed >= len(errors) - 1 or type(errors[-1]) is NotConnected
    if not tls:
        # The login takes two of the server's stanzas; the banner is not a stanza.
        assert failed <= run.down.count(b"\r\n\r\n") - 2, (run.tag, errors)
    if failed == len(errors):
        return
    # The client reconnects if it notices the cut before it sends.
    expected: Tuple[type, ...] = (SendFailed, ConnectionLost, *no_connection)
    if failed == len(errors) - 1:
        expected += (NotConnected,)  # nothing to log off
    if not tls and not (run.up.endswith(b"\r\n\r\n") and run.down.endswith(b"\r\n\r\n")):
        expected = (ConnectionLost,)  # in the middle of an action or of a response
    assert type(errors[failed]) in expected, (run.tag, errors)
    assert all(step.seconds < 2.0 for step in run.steps), run


@pytest.mark.parametrize(
    ("tls", "stride", "reset"),
    [(False, _CUTS, False), (False, 7, True), (True, _TLS_CUTS, False)],
    ids=["plain", "reset", "tls"],
)
def test_connection_cut_at_every_byte(tls: bool, stride: int, reset: bool) -> None:
    runs: List[_Run] = []
    with LoopbackServer(tls=server_tls() if tls else None) as server:
        whole = _run(server, "whole", tls, {})
        assert [step.error for step in whole.steps] == [None] * 5
        for direction, place in _places(whole, tls, stride):
            faults = {direction: Direction(cut=place)}
            runs.append(_run(server, f"{direction} {place}", tls, faults, reset=reset))
    for run in [whole, *runs]:
        _check_cut(run, tls)
    _compare(server, [whole, *runs])
    errors = {type(step.error) for run in runs for step in run.steps}
    assert {type(None), ConnectError, ConnectionLost, NotConnected} <= errors
    assert (TLSError in errors) == tls


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_connection_stalls_at_every_byte(tls: bool) -> None:
    with LoopbackServer(tls=server_tls() if tls else None) as server:
        whole = _run(server, "whole", tls, {})

        def run(job: Tuple[str, int, int]) -> _Run:
            direction, place, attempt = job
            faults = {direction: Direction(stall=place)}
            tag = f"{direction} {place} {attempt}"
            return _run(server, tag, tls, faults, timeout=_TIMEOUT, stop_at_failure=True)

        places = _places(whole, tls, _TLS_STALLS if tls else _STALLS)
        if not _THOROUGH:
            places = places[::2]
        runs: List[_Run] = []
        late = places
        for attempt, width in enumerate(_PARALLEL):
            with ThreadPoolExecutor(width) as pool:
                tried = list(pool.map(run, [(*place, attempt) for place in late]))
            runs += tried
            late = [place for place, one in zip(late, tried) if one.is_late]
        assert not late
        assert len(runs) - len(places) < len(places) / 2
    _compare(server, runs)
    for one in runs:
        *before, last = one.steps
        if one.is_late:  # it may have timed out before sending
            continue
        assert all(step.error is None for step in before)
        if last.error is not None:
            expected = ConnectTimeout if last.name == "connect" else ResponseTimeout
            assert type(last.error) is expected, (one.tag, last)
    errors = {type(step.error) for one in runs for step in one.steps}
    assert {type(None), ConnectTimeout, ResponseTimeout} <= errors
