"""Unusual callers with real servers: slow ones, listening threads, sizes near the read buffer."""

from __future__ import annotations

import os
import threading
import time
from typing import Iterator, List

import pytest

from amiclient import ACCEPTED, Action, ConnectionLost, MessageSend, NotConnected
from tests.live.servers import Live
from tests.live.test_client_live import TIMEOUT, client_of

#: How many messages to send for each number of records.
_TLS_MESSAGES = int(os.environ.get("AMICLIENT_LIVE_TLS") or 100)


@pytest.mark.parametrize("slow", ["results", "messages"])
@pytest.mark.parametrize("window", [1, 4, 64])
def test_caller_slower_than_the_timeout(live: Live, window: int, slow: str) -> None:
    timeout, delay, count = 0.5, 0.55, 6

    def messages() -> Iterator[MessageSend]:
        for number in range(count):
            if slow == "messages":
                time.sleep(delay)
            yield MessageSend(live.to, str(number))

    with client_of(live.server) as client:
        start = time.monotonic()
        outcomes = []
        for result in client.send_messages(messages(), window=window, timeout=timeout):
            outcomes.append(result.outcome)
            if slow == "results":
                time.sleep(delay)
        assert outcomes == [ACCEPTED] * count
        assert time.monotonic() - start < count * delay + 1.5
    bodies = [message.body for message in live.phone.wait_for(count)]
    assert bodies == [b"%d" % number for number in range(count)]


def test_calls_while_a_thread_listens(live: Live) -> None:
    # Every call causes an event, so that the listener is always busy.
    count = 500
    numbers: List[int] = []
    client = client_of(live.server, "admin", events="user")
    client.connect()

    def listen() -> None:
        with pytest.raises((ConnectionLost, NotConnected)):
            for event in client.events(timeout=None):
                if event.headers.get("UserEvent") == "Tick":
                    numbers.append(int(event.headers["Number"]))

    thread = threading.Thread(target=listen)
    thread.start()
    for number in range(count):
        headers = [("UserEvent", "Tick"), ("Number", str(number))]
        client.send_action(Action("UserEvent", headers), timeout=5.0)
    deadline = time.monotonic() + TIMEOUT
    while len(numbers) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    client.close()
    thread.join()
    assert numbers == list(range(count)), "every event once, and in order"


@pytest.mark.parametrize("records", [1, 2, 3, 4])
def test_sizes_near_the_read_buffer_over_tls(live: Live, records: int) -> None:
    # Actions of 990 to 1070 bytes, just below and above the 1024 bytes that Asterisk reads.
    server = live.server
    late: List[int] = []
    with client_of(server, tls=server.ca_file, timeout=2.0) as client:
        for number in range(_TLS_MESSAGES):
            size = 990 + number % 81
            variables = {f"X-{count}": "y" for count in range(records - 1)}
            empty = MessageSend(live.to, "x", None, variables, action_id="0" * 32)
            body = "x" * (1 + size - len(empty.wire))
            message = MessageSend(live.to, body, None, variables)
            assert len(message.with_action_id("0" * 32).wire) == size
            start = time.monotonic()
            assert client.send(message).outcome == ACCEPTED
            if time.monotonic() - start > 1.0:
                late.append(size)
    assert not late
    assert len(live.phone.wait_for(_TLS_MESSAGES)) == _TLS_MESSAGES
