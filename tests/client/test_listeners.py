"""A thread that waits for events, and others that call beside it on the same client."""

from __future__ import annotations

import statistics
import threading
import time
from functools import partial
from typing import Callable, List

import pytest

from amiclient import ACCEPTED, AMIError, Client, ConnectionLost, Event, MessageSend, NotConnected
from amiclient.loopback import LoopbackServer
from tests.faults import SERVER_PEM, client_of, in_thread, server_tls
from tests.script import Script, log_in, read


def _listen(client: Client, numbers: List[int]) -> threading.Thread:
    """A thread that takes the numbers of all events until the client closes."""

    def listen() -> None:
        with pytest.raises((ConnectionLost, NotConnected)):
            for event in client.events(timeout=None):
                numbers.append(int(event.headers["Number"]))

    thread = in_thread(listen)
    time.sleep(0.05)
    return thread


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_calls_go_through_and_no_event_is_lost(tls: bool) -> None:
    numbers: List[int] = []
    with LoopbackServer(tls=server_tls() if tls else None) as server:
        client = client_of(server.port, 5.0, events="on", tls=SERVER_PEM if tls else False)
        client.connect()
        thread = _listen(client, numbers)

        def call(first: int) -> None:
            for number in range(first, first + 40):
                assert client.send_message("sip:a", str(number)).outcome == ACCEPTED

        callers = [in_thread(partial(call, first)) for first in range(0, 160, 40)]
        for number in range(200):
            server.send_event(Event("Tick", [("Number", str(number))]))
            time.sleep(0.001)
        for caller in callers:
            caller.join()
        for _ in range(250):
            if len(numbers) == 200:
                break
            time.sleep(0.02)
        client.close()
        thread.join()
    assert numbers == list(range(200))
    texts = [message.text for message in server.messages]
    assert sorted(texts, key=int) == [str(number) for number in range(160)]


def test_a_bulk_beside_a_listener() -> None:
    with LoopbackServer() as server:
        client = client_of(server.port, events="on")
        client.connect()
        thread = _listen(client, [])
        start = time.monotonic()
        results = client.send_messages(
            [MessageSend("sip:a", str(number)) for number in range(100)], timeout=0.3
        )
        assert [result.outcome for result in results] == [ACCEPTED] * 100
        results = client.send_messages([MessageSend("sip:a", "b")] * 50, window=5)
        next(results)
        results.close()  # which waited for the listener, for ever
        assert time.monotonic() - start < 2.0
        client.close()
        thread.join()


def test_a_call_beside_a_listener_waits_for_no_time_out() -> None:
    def median(call: Callable[[], object]) -> float:
        took = []
        for _ in range(200):
            start = time.perf_counter()
            call()
            took.append(time.perf_counter() - start)
        return statistics.median(took)

    with LoopbackServer() as server:
        client = client_of(server.port, events="on")
        client.connect()
        thread = _listen(client, [])
        assert median(client.ping) < 0.02
        client.close()
        thread.join()


def test_a_listener_ends_by_its_time_out_beside_calls() -> None:
    stop = threading.Event()
    with LoopbackServer() as server, client_of(server.port, 5.0, events="on") as client:

        def call() -> None:
            while not stop.is_set():
                client.ping()

        thread = in_thread(call)
        start = time.monotonic()
        assert list(client.events(timeout=0.3)) == []
        assert 0.25 < time.monotonic() - start < 1.5
        stop.set()
        thread.join()


def test_closing_and_opening_anew_end_a_listener() -> None:
    for again in (False, True):
        with LoopbackServer() as server:
            client = client_of(server.port, events="on")
            client.connect()
            errors: List[AMIError] = []

            def listen() -> None:
                try:
                    list(client.events(timeout=None))
                except AMIError as error:
                    errors.append(error)

            thread = in_thread(listen)
            time.sleep(0.05)
            start = time.monotonic()
            client.close()
            thread.join()
            assert time.monotonic() - start < 1.0 and type(errors[0]) is ConnectionLost
            if again:
                client.connect()
                client.ping()
                client.close()


def test_a_listener_is_told_what_another_call_found() -> None:
    told: List[str] = []

    def listen() -> None:
        try:
            list(client.events(timeout=None))
        except AMIError as error:
            told.append(str(error))

    # It reads the call, and closes while the listener has given up the connection.
    with Script(log_in, read) as script, client_of(script.port, events="on") as client:
        listener = in_thread(listen)
        time.sleep(0.1)
        with pytest.raises(ConnectionLost):
            client.ping()
        listener.join(5.0)
        assert len(told) == 1 and "the server closed the connection" in told[0]
