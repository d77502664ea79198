"""A thread that waits for events, and others that call beside it on the same client."""

from __future__ import annotations

import statistics
import threading
import time
from functools import partial
from typing import Callable, List, Union

import pytest

from amiclient import ACCEPTED, AMIError, Client, ConnectionLost, Event, MessageSend, NotConnected
from amiclient.loopback import LoopbackServer
from tests.certificates import SERVER_PEM, server_tls
from tests.faults import client_of, opened, start_thread
from tests.script import Script, log_in, read


def _listen(client: Client, numbers: List[int]) -> threading.Thread:
    """A thread that takes the numbers of all events until the client closes."""

    def listen() -> None:
        with pytest.raises((ConnectionLost, NotConnected)):
            for event in client.events(timeout=None):
                numbers.append(int(event.headers["Number"]))

    thread = start_thread(listen)
    time.sleep(0.05)
    return thread


@pytest.mark.parametrize("tls", [False, SERVER_PEM], ids=["plain", "tls"])
def test_calls_go_through_and_no_event_is_lost(tls: Union[bool, str]) -> None:
    numbers: List[int] = []
    with LoopbackServer(tls=server_tls() if tls else None) as server:
        with opened(client_of(server.port, 5.0, events="on", tls=tls)) as client:
            thread = _listen(client, numbers)

            def call(first: int) -> None:
                for number in range(first, first + 40):
                    assert client.send_message("sip:a", str(number)).outcome == ACCEPTED

            callers = [start_thread(partial(call, first)) for first in range(0, 160, 40)]
            for number in range(200):
                server.send_event(Event("Tick", [("Number", str(number))]))
                time.sleep(0.001)
            for caller in callers:
                caller.join()
            for _ in range(250):
                if len(numbers) == 200:
                    break
                time.sleep(0.02)
        thread.join()
    assert numbers == list(range(200))
    texts = [message.text for message in server.messages]
    assert sorted(texts, key=int) == [str(number) for number in range(160)]


def test_a_bulk_beside_a_listener(server: LoopbackServer) -> None:
    with opened(client_of(server.port, events="on")) as client:
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
    thread.join()


def test_a_call_beside_a_listener_waits_for_no_time_out(server: LoopbackServer) -> None:
    def seconds_of(call: Callable[[], object]) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    with opened(client_of(server.port, events="on")) as client:
        thread = _listen(client, [])
        assert statistics.median(seconds_of(client.ping) for _ in range(200)) < 0.02
    thread.join()


def test_a_listener_ends_by_its_time_out_beside_calls(server: LoopbackServer) -> None:
    stop = threading.Event()
    with client_of(server.port, 5.0, events="on") as client:

        def call() -> None:
            while not stop.is_set():
                client.ping()

        thread = start_thread(call)
        start = time.monotonic()
        assert list(client.events(timeout=0.3)) == []
        assert 0.25 < time.monotonic() - start < 1.5
        stop.set()
        thread.join()


def _listen_to_the_end(client: Client, errors: List[AMIError]) -> threading.Thread:
    """A thread that listens until an error ends it, which it notes."""

    def listen() -> None:
        try:
            list(client.events(timeout=None))
        except AMIError as error:
            errors.append(error)

    thread = start_thread(listen)
    time.sleep(0.1)
    return thread


def test_closing_ends_a_listener_and_the_client_opens_again(server: LoopbackServer) -> None:
    errors: List[AMIError] = []
    with opened(client_of(server.port, events="on")) as client:
        thread = _listen_to_the_end(client, errors)
        start = time.monotonic()
        client.close()
        thread.join()
        assert time.monotonic() - start < 1.0 and type(errors[0]) is ConnectionLost
        client.connect()
        client.ping()


def test_opening_anew_ends_a_listener_too(server: LoopbackServer) -> None:
    # It would miss what came between the two connections, and not know.
    errors: List[AMIError] = []
    with opened(client_of(server.port, events="on")) as client:
        thread = _listen_to_the_end(client, errors)
        client.connect()
        thread.join(5.0)
        assert type(errors[0]) is ConnectionLost and "opened anew" in str(errors[0])
        server.send_event(Event("Tick"))
        assert [event.name for event in client.events(timeout=0.3)] == ["Tick"]


def test_a_listener_is_told_what_another_call_found() -> None:
    errors: List[AMIError] = []
    # It reads the call, and closes while the listener has given up the connection.
    with Script(log_in, read) as script, client_of(script.port, events="on") as client:
        thread = _listen_to_the_end(client, errors)
        with pytest.raises(ConnectionLost):
            client.ping()
        thread.join(5.0)
        (error,) = errors
        assert "the server closed the connection" in str(error)
