"""Callers that do the unexpected before real servers: slow ones, and threads that listen."""

from __future__ import annotations

import os
import statistics
import threading
import time
from typing import Callable, Dict, Iterator, List

import pytest

from amiclient import ACCEPTED, Action, Client, ConnectionLost, MessageSend, NotConnected
from tests.live.servers import Live
from tests.live.test_client_live import TIMEOUT, client_of

#: How many messages of each of the four kinds are sent over TLS, at sizes around those of a read.
_TLS_MESSAGES = int(os.environ.get("AMICLIENT_LIVE_TLS") or 100)


@pytest.mark.parametrize("slow", ["reader", "iterable"])
@pytest.mark.parametrize("window", [1, 4, 64])
def test_slow_caller(live: Live, window: int, slow: str) -> None:
    # Each piece of the caller's work is longer than the time-out.
    timeout, work, count = 0.5, 0.55, 6

    def messages() -> Iterator[MessageSend]:
        for number in range(count):
            if slow == "iterable":
                time.sleep(work)
            yield MessageSend("pjsip:alice", str(number))

    with client_of(live.server) as client:
        start = time.monotonic()
        outcomes = []
        for result in client.send_messages(messages(), window=window, timeout=timeout):
            outcomes.append(result.outcome)
            if slow == "reader":
                time.sleep(work)
        assert outcomes == [ACCEPTED] * count
        assert time.monotonic() - start < count * work + 1.5
    assert [message.body for message in live.phone.wait_for(count)] == [
        b"%d" % number for number in range(count)
    ]


def _times(call: Callable[[], object], count: int) -> List[float]:
    took = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return took


def test_calls_beside_a_listener(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    # An event for each call, so that the listener is awake all the time.
    count = 500
    server = live.server
    numbers: List[int] = []

    def listen(client: Client) -> None:
        with pytest.raises((ConnectionLost, NotConnected)):
            for event in client.events(timeout=None):
                if event.headers.get("UserEvent") == "Tick":
                    numbers.append(int(event.headers["Number"]))

    took: Dict[str, List[float]] = {}
    sent = iter(range(2 * count))
    for name in ("alone", "beside a listener"):
        client = client_of(server, "admin", events="user")
        client.connect()

        def call() -> None:
            headers = [("UserEvent", "Tick"), ("Number", str(next(sent)))]
            client.send_action(Action("UserEvent", headers), timeout=5.0)

        thread = threading.Thread(target=listen, args=(client,))
        if name != "alone":
            thread.start()
            time.sleep(0.1)
        took[name] = _times(call, count)
        if name != "alone":
            deadline = time.monotonic() + TIMEOUT
            while len(numbers) < count and time.monotonic() < deadline:
                time.sleep(0.01)
        client.close()
        if name != "alone":
            thread.join()
    assert numbers == list(range(count, 2 * count)), "each event once, and in order"
    with capsys.disabled():
        for name, times in took.items():
            print(
                f"\n{name}: median {statistics.median(times) * 1e3:.3f} ms, "
                f"worst {max(times) * 1e3:.3f} ms", end=""
            )  # fmt: skip


@pytest.mark.parametrize("records", [1, 2, 3, 4])
def test_sizes_around_a_read_over_tls(live: Live, records: int) -> None:
    # Actions of 990 to 1070 bytes: over Asterisk's buffer, and just below and above its edges.
    server = live.server
    late: List[int] = []
    with client_of(server, tls=server.ca_file, timeout=2.0) as client:
        for number in range(_TLS_MESSAGES):
            size = 990 + number % 81
            variables = {f"X-{count}": "y" for count in range(records - 1)}
            empty = MessageSend("pjsip:alice", "x", None, variables, action_id="0" * 32)
            message = MessageSend(
                "pjsip:alice", "x" * (1 + size - len(empty.wire)), None, variables
            )
            assert len(message.with_action_id("0" * 32).wire) == size
            start = time.monotonic()
            assert client.send(message).outcome == ACCEPTED
            if time.monotonic() - start > 1.0:
                late.append(size)
    assert not late
    assert len(live.phone.wait_for(_TLS_MESSAGES)) == _TLS_MESSAGES
