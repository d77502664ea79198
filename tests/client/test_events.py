"""Events: order, overflow, and a thread that listens while others call."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from functools import partial
from typing import Any, Callable, List, Union

import pytest

from amiclient import (
    ACCEPTED,
    AMIError,
    Client,
    ConnectionLost,
    Event,
    EventOverflow,
    MessageSend,
    NotConnected,
    Response,
)
from amiclient._connection import EventBuffer
from amiclient.loopback import LoopbackServer
from amiproto import UnknownMessage
from tests.certificates import SERVER_PEM, server_tls
from tests.faults import client_of, client_over, opened, start_thread
from tests.script import (
    EVENT,
    Script,
    Step,
    accept,
    accept_all,
    hold,
    in_one_write,
    log_in,
    read,
    read_until_eof,
    repeat,
    send,
)


def _tick(number: int) -> Event:
    return Event("Tick", [("Number", str(number))])


def test_events_are_in_order_and_end_by_timeout(server: LoopbackServer) -> None:
    with client_of(server.port, events="user") as client:
        for number in range(5):
            server.send_event(_tick(number))
        seen = [event.headers["Number"] for event in client.events(timeout=0.1)]
        assert seen == list("01234")
        assert list(client.events(timeout=0)) == []


@pytest.mark.parametrize("has_socket", [False, True])
def test_events_are_off_by_default(server: LoopbackServer, has_socket: bool) -> None:
    if has_socket:
        client = client_over(socket.create_connection((server.host, server.port)))
    else:
        client = client_of(server.port)
    with client:
        server.send_event(Event("Tick"))
        client.ping()
        assert list(client.events(timeout=0.02)) == []


def test_unsolicited_messages_are_among_the_events() -> None:
    unsolicited = send(b"Nonsense: x\r\n\r\n", b"Response: Success\r\nActionID: other\r\n\r\n")
    with Script(log_in, unsolicited, read_until_eof) as script:
        with client_of(script.port, 0.1) as client:
            first, second = client.events()
            assert isinstance(first, UnknownMessage) and isinstance(second, Response)


# -- Overflow.


def test_overflow_is_reported_after_buffered_events() -> None:
    def events_of(*numbers: int) -> Step:
        return send(*[b"Event: E\r\nNumber: %d\r\n\r\n" % number for number in numbers])

    with Script(
        log_in,
        read, events_of(0, 1, 2, 3, 4), accept,
        read, events_of(10, 11, 12, 13, 14), accept,
        hold, events_of(20), accept_all,
    ) as script, client_of(script.port, events="on", max_events=3) as client:  # fmt: skip
        client.ping()
        events = client.events(timeout=0.2)
        seen = [next(events).headers["Number"]]
        client.ping()  # five more events, although there would be room for one now
        with pytest.raises(EventOverflow) as caught:
            seen.extend(event.headers["Number"] for event in events)
        assert seen == ["0", "1", "2"]
        assert (caught.value.limit, caught.value.actual) == (3, 7)
        script.release()
        assert next(client.events()).headers["Number"] == "20"


def test_default_limit_of_events() -> None:
    steps = (read, send(EVENT * 4000), in_one_write(accept, send(EVENT)))
    with Script(log_in, repeat(3, *steps)) as script:
        with client_of(script.port, events="on") as client:
            for _ in range(3):
                assert client.send_message("pjsip:a", "b").outcome == ACCEPTED
            count = 0
            with pytest.raises(EventOverflow) as caught:
                for event in client.events(timeout=0.2):
                    count += 1
                    assert event.headers["Uniqueid"] == "1.2"
            assert count == caught.value.limit == 10_000
            assert caught.value.actual == 2003


def test_default_limit_of_event_bytes() -> None:
    # 1,000 events of 60 KB: far fewer than the limit of events, and more than that of bytes.
    event = b"Event: Big\r\n" + b"X: %s\r\n" % (b"x" * 60_000) + b"\r\n"
    with Script(log_in, read, repeat(1000, send(event)), accept_all) as script:
        with client_of(script.port) as client:
            client.ping()
            count = 0
            with pytest.raises(EventOverflow) as caught:
                for _ in client.events(timeout=0.2):
                    count += 1
            assert count * len(event) <= 32 * 1024 * 1024 < (count + 1) * len(event)
            assert caught.value.actual == 1000 - count


def test_buffer_has_room_again_after_events_were_taken() -> None:
    event = Event("E", [("X", "y" * 50)])
    events = EventBuffer(100, 3 * len(event.wire))
    for _ in range(3):
        for _ in range(3):
            events.add(event)
        assert [events.popleft() for _ in range(3)] == [event] * 3
        assert not events
    for _ in range(4):
        events.add(event)
    assert [events.popleft() for _ in range(3)] == [event] * 3 and events
    with pytest.raises(EventOverflow) as caught:
        events.popleft()
    assert caught.value.actual == 1


# -- A listener, and calls of other threads.


def _listen(client: Client, events: List[Any]) -> threading.Thread:
    """Collect all events, and then the error that ends them, in a thread."""

    def listen() -> None:
        try:
            for event in client.events(timeout=None):
                events.append(event)
        except AMIError as error:
            events.append(error)

    thread = start_thread(listen)
    time.sleep(0.05)
    return thread


@pytest.mark.parametrize("tls", [False, SERVER_PEM], ids=["plain", "tls"])
def test_no_event_is_lost_during_calls(tls: Union[bool, str]) -> None:
    events: List[Any] = []
    with LoopbackServer(tls=server_tls() if tls else None) as server:
        with opened(client_of(server.port, 5.0, events="user", tls=tls)) as client:
            thread = _listen(client, events)

            def call(first: int) -> None:
                for number in range(first, first + 40):
                    assert client.send_message("pjsip:a", str(number)).outcome == ACCEPTED

            callers = [start_thread(partial(call, first)) for first in range(0, 160, 40)]
            for number in range(200):
                server.send_event(_tick(number))
                time.sleep(0.0005)
            for caller in callers:
                caller.join()
            for _ in range(250):
                if len(events) == 200:
                    break
                time.sleep(0.02)
        thread.join()
    assert type(events.pop()) in (ConnectionLost, NotConnected)
    assert events == [_tick(number) for number in range(200)]
    texts = [message.text for message in server.messages]
    assert sorted(texts, key=int) == [str(number) for number in range(160)]


def test_calls_do_not_wait_for_a_listener(server: LoopbackServer) -> None:
    def seconds_of(call: Callable[[], object]) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    with opened(client_of(server.port, events="user")) as client:
        thread = _listen(client, [])
        assert statistics.median(seconds_of(client.ping) for _ in range(200)) < 0.02
        start = time.monotonic()
        messages = [MessageSend("pjsip:a", str(number)) for number in range(100)]
        results = client.send_messages(messages, timeout=0.3)
        assert [result.outcome for result in results] == [ACCEPTED] * 100
        results = client.send_messages([MessageSend("pjsip:a", "b")] * 50, window=5)
        next(results)
        results.close()
        assert time.monotonic() - start < 2.0
    thread.join()


def test_listener_ends_by_its_timeout_during_calls(server: LoopbackServer) -> None:
    stop = threading.Event()
    with client_of(server.port, 5.0, events="user") as client:

        def call() -> None:
            while not stop.is_set():
                client.ping()

        thread = start_thread(call)
        start = time.monotonic()
        assert list(client.events(timeout=0.2)) == []
        assert 0.15 < time.monotonic() - start < 1.4
        stop.set()
        thread.join()


def test_two_listeners_do_not_spin(server: LoopbackServer) -> None:
    with client_of(server.port, events="user") as client:
        thread = start_thread(lambda: list(client.events(timeout=0.3)))
        time.sleep(0.05)
        start = time.process_time()
        assert list(client.events(timeout=0.1)) == []  # cannot acquire the lock in time
        client.ping()
        assert time.process_time() - start < 0.08
        thread.join()


@pytest.mark.parametrize("reconnect", [False, True])
def test_close_and_connect_end_a_listener(server: LoopbackServer, reconnect: bool) -> None:
    # After a new connect(), it would miss the events between the two connections.
    events: List[Any] = []
    with opened(client_of(server.port, events="user")) as client:
        thread = _listen(client, events)
        start = time.monotonic()
        if not reconnect:
            client.close()
            thread.join()
        client.connect()
        thread.join(5.0)
        assert time.monotonic() - start < 1.0
        assert [type(event) for event in events] == [ConnectionLost]
        client.ping()
        server.send_event(Event("Tick"))
        assert [event.name for event in client.events(timeout=0.1)] == ["Tick"]


def test_listener_gets_the_error_found_by_another_call() -> None:
    # The server closes while the listener has released the lock for the call.
    events: List[Any] = []
    with Script(log_in, read) as script, client_of(script.port, events="on") as client:
        thread = _listen(client, events)
        with pytest.raises(ConnectionLost):
            client.ping()
        thread.join(5.0)
        assert [type(event) in (ConnectionLost, NotConnected) for event in events] == [True]
