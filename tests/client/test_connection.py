"""The connection under a client: partly sent actions, abandoned actions, closing, TLS records."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from functools import partial
from typing import Any, Callable, Iterator, List, Tuple, Type

import pytest

from amiclient import (
    ACCEPTED,
    NOT_SENT,
    UNKNOWN,
    Action,
    AMIError,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    Event,
    LocalProtocolError,
    MessageSend,
    NotConnected,
    NotSent,
    ResponseTimeout,
    SendFailed,
    SendTimeout,
)
from amiclient._connection import PendingAction, SendQueue
from amiclient._transport import Closed, Deadline
from amiclient.loopback import LoopbackServer
from amiproto.limits import MAX_OUTSTANDING
from tests.certificates import SERVER_PEM, server_tls
from tests.faults import (
    Proxy,
    buffered_results,
    client_of,
    client_over,
    error_within,
    opened,
    small_buffer_socket,
    start_thread,
)
from tests.script import (
    Script,
    Step,
    accept,
    accept_all,
    expect,
    expect_eof,
    hold,
    leave_pending,
    log_in,
    read,
    read_until_eof,
    repeat,
    repeat_forever,
    send,
)

_MESSAGES = [MessageSend("sip:a", "x" * 1000)] * 1000


# -- Partly sent actions.


def test_partial_tls_record_closes_connection() -> None:
    """A record that could not be written stays in the TLS layer, in front of the next one.

    So the connection must be closed although, by the count of bytes, nothing of the action was
    sent.
    """
    steps = (log_in, hold, repeat_forever(read))
    for count in range(8):
        with Script(*steps, tls=True, small_buffers=True) as script, opened(
            client_over(small_buffer_socket(script.port), tls=SERVER_PEM, tls_hostname="localhost")
        ) as client:
            connection = client._state().connection
            assert connection is not None
            # Another number of lines each time, so that the buffer is full at another place.
            actions = [Action("Ping", [("X", "x")] * count), *[Action("Ping")] * 1000]
            pings = [connection.enqueue(action) for action in actions]
            connection.write(Deadline(10.0))
            for ping in pings:
                ping.is_cancelled = True
            assert not connection.check_alive(Deadline(10.0))
            script.release()
            script.wait_for_end()
            assert 0 < len(script.actions) < len(pings)
            if not script.peers[0].unread:
                return  # nothing of the next action was sent
    raise AssertionError("no whole record stayed in the TLS layer")


def test_interrupted_pipeline_closes_partly_sent_message() -> None:
    def messages() -> Iterator[MessageSend]:
        yield from _MESSAGES
        time.sleep(0.01)  # so that what fits into the buffer is sent
        yield MessageSend("sip:a", "last")
        raise KeyboardInterrupt

    with Script(log_in, hold, read_until_eof, small_buffers=True) as script:
        with opened(client_over(small_buffer_socket(script.port))) as client:
            results = client.send_messages(messages(), window=1024)
            with pytest.raises(KeyboardInterrupt):
                next(results)
            with pytest.raises(NotConnected):  # it cannot connect again
                client.ping()
            assert not client.connected
            results.close()


def test_abandoned_partly_sent_message_ends_listener() -> None:
    """The server would wait for the rest of a message that is not sent any more."""
    with Script(log_in, accept, hold, small_buffers=True) as script:
        with opened(client_over(small_buffer_socket(script.port), events="on")) as client:
            results = client.send_messages(_MESSAGES, window=1000)
            assert next(results).outcome == ACCEPTED
            results.close()
            with pytest.raises(ConnectionLost):
                list(client.events(timeout=5.0))
            assert not client.connected


@pytest.mark.parametrize(
    ("steps", "kinds"),
    [((expect_eof, hold), (SendFailed,)), ((read_until_eof,), (SendFailed, NotConnected))],
    ids=["open", "closed"],
)
def test_failed_write_means_not_sent(
    steps: Tuple[Step, ...], kinds: Tuple[Type[AMIError], ...]
) -> None:
    with Script(log_in, *steps) as script:
        for many in (False, True):
            sock = socket.create_connection(("127.0.0.1", script.port))
            with opened(client_over(sock)) as client:
                sock.shutdown(socket.SHUT_WR)
                with pytest.raises(kinds) as caught:
                    if many:
                        results = list(client.send_messages(_MESSAGES[:3]))
                        assert [result.outcome for result in results] == [NOT_SENT] * 3
                        results[0].unwrap()
                    client.send_message("sip:a", "b")
                assert caught.value.outcome == NOT_SENT and not client.connected


def test_input_before_a_failed_write_is_read(server: LoopbackServer) -> None:
    sock = socket.create_connection((server.host, server.port))
    with opened(client_over(sock, events="user")) as client:
        connection = client._state().connection
        assert connection is not None
        server.send_event(Event("Tick"))
        assert select.select([sock], [], [], 10.0)[0]
        sock.shutdown(socket.SHUT_WR)
        pending = connection.enqueue(Action("Ping"))
        with pytest.raises(Closed) as caught:
            connection.pump(Deadline(10.0))
        assert isinstance(connection.abandon(pending, caught.value), SendFailed)
        assert connection.events.popleft().wire == Event("Tick").wire


def test_drain_after_a_failed_write_has_a_deadline() -> None:
    # The peer of a Unix socket sends without end and does not let the client write.
    ours, theirs = socket.socketpair()
    flood = repeat_forever(send(b"Event: Noise\r\n\r\n" * 4000))
    with Script(log_in, lambda peer: peer.sock.shutdown(socket.SHUT_RD), flood) as script:
        script.add_client(theirs)
        with opened(client_over(ours, max_events=10)) as client:
            time.sleep(0.05)
            error = error_within(0.3, lambda: client.ping(timeout=0.3))
            assert type(error) in (SendFailed, SendTimeout, NotConnected)


def test_partial_tls_record_of_input_does_not_block(secure: LoopbackServer) -> None:
    with Proxy(secure.port) as proxy:
        with opened(client_of(proxy.port, 5.0, tls=SERVER_PEM, events="user")) as client:
            client.ping()
            proxy.down.stall = len(proxy.down.passed) + 7
            secure.send_event(Event("Tick"))
            time.sleep(0.05)
            with pytest.raises(ResponseTimeout):
                client.ping(timeout=0.1)
            assert not client.connected
            proxy.down.stall = None
            client.ping()


# -- Abandoned actions, and missing responses.


@pytest.mark.parametrize(("second", "outcome"), [(accept, ACCEPTED), (leave_pending, UNKNOWN)])
def test_message_in_flight_while_other_thread_calls(second: Step, outcome: str) -> None:
    # The response to the second message comes, if at all, while the other thread waits.
    before = buffered_results()
    steps = (read, read, accept, expect("Ping"), second, hold, accept_all)
    with Script(log_in, *steps) as script, client_of(script.port, 5.0) as client:
        results = client.send_messages([MessageSend("sip:a", text) for text in "ab"], timeout=0.2)
        assert next(results).outcome == ACCEPTED
        thread = start_thread(client.ping)
        script.wait_for_actions(3)
        (result,) = results
        assert result.outcome == outcome
        if result.error is not None:
            assert result.error.action_id == script.actions[1]["ActionID"]
        assert client.connected
        script.release()
        thread.join()
        client.ping()
        assert buffered_results() == before


def test_message_is_rejected_when_too_many_responses_are_missing() -> None:
    messages = [MessageSend("sip:a", "b")] * 1024
    accept_first = repeat(4, repeat(1024, read), accept, repeat(1023, leave_pending))
    with Script(log_in, accept_first, accept_all) as script, opened(
        client_of(script.port)
    ) as client:
        pipelines = [client.send_messages(messages, window=1024) for _ in range(4)]
        for results in pipelines:
            assert next(results).outcome == ACCEPTED
        first, *_, last = client.send_messages(messages[:6], window=6)
        assert first.outcome == ACCEPTED and isinstance(last.error, LocalProtocolError)
        assert last.error.limit == MAX_OUTSTANDING and client.connected
        for results in pipelines:
            results.close()


# -- Closing while others use the client.


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> Iterator[List[threading.Event]]:
    """Hold each lookup of a host name until its event in this list is set."""
    original = socket.getaddrinfo
    events: List[threading.Event] = []

    def getaddrinfo(*arguments: Any) -> Any:
        events.append(threading.Event())
        assert events[-1].wait(20.0)
        return original(*arguments)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield events
    for event in events:
        event.set()


def _wait_for(events: List[threading.Event]) -> threading.Event:
    while not events:
        time.sleep(0.001)
    return events[0]


def test_close_waits_for_no_lookup_and_ends_calls_that_wait(
    lookups: List[threading.Event],
) -> None:
    with Script(log_in, accept_all) as script:
        client = client_of(script.port)
        outcomes: List[Type[AMIError]] = []

        def run(call: Callable[[], None]) -> None:
            with pytest.raises(NotSent) as caught:
                call()
            outcomes.append(type(caught.value))

        threads = []
        for call in (client.ping, client.ping):  # one after the other
            threads.append(start_thread(partial(run, call)))
            lookup = _wait_for(lookups)
            time.sleep(0.03)
        start = time.monotonic()
        client.close()
        assert time.monotonic() - start < 0.5 and not client.connected
        lookup.set()
        for thread in threads:
            thread.join()
        assert outcomes == [ConnectError, NotConnected]
        assert not client.connected and len(lookups) == 1 and script.actions == []


def test_lookup_that_outlives_the_timeout(
    server: LoopbackServer, lookups: List[threading.Event]
) -> None:
    client = client_of(server.port, timeout=0.05)
    errors: List[AMIError] = []

    def call() -> None:
        with pytest.raises(AMIError) as caught:
            client.send_message("sip:a", "b")
        errors.append(caught.value)

    thread = start_thread(call)
    lookup = _wait_for(lookups)
    with pytest.raises(SendTimeout):
        client.ping()  # waits for the other call
    lookup.set()
    thread.join()
    assert [type(error) for error in errors] == [ConnectTimeout] and server.messages == []


# -- TLS records. Asterisk 11 reads up to 1024 bytes across records, and then polls the socket and
# not the TLS layer: the rest of a partly read record waits there until the client writes again.


def _message(size: int) -> MessageSend:
    """Return a message whose action has a number of bytes, including the ActionID."""
    variables = {"Y": "y" * 900, "Z": "z"} if size > 1500 else {"Z": "z"}
    start = MessageSend("sip:a", "x" * 300, None, variables, action_id="0" * 32)
    variables["Z"] = "z" * (1 + size - len(start.wire))
    message = MessageSend("sip:a", "x" * 300, None, variables)
    assert len(message.with_action_id("0" * 32).wire) == size
    return message


def test_message_of_any_size_is_read_at_once() -> None:
    with LoopbackServer(version=11, tls=server_tls()) as server:
        for size in (1023, 1024, 1025, 1026, 1027, 2047, 2048, 2049, 2050):
            with client_of(server.port, 2.0, tls=SERVER_PEM) as client:
                for _ in range(3):
                    assert client.send(_message(size)).outcome == ACCEPTED


def test_blank_line_in_one_record_would_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    # This shows that the loopback server reads like Asterisk 11.
    split = SendQueue.next_chunk

    def next_chunk(queue: SendQueue) -> bytes:
        chunk = split(queue)
        return b"\r\n" if chunk == b"\r" else chunk

    monkeypatch.setattr(SendQueue, "next_chunk", next_chunk)
    late = []
    for size in (1023, 1024, 1025, 1026):
        with LoopbackServer(version=11, tls=server_tls()) as server:
            client = client_of(server.port, 5.0, tls=SERVER_PEM)
            client.connect()
            try:
                client.send(_message(size), timeout=0.2)
            except TimeoutError:
                late.append(size)
            client.close()
    assert late == [1025]


def test_cancel_in_send_queue() -> None:
    for is_tls in (True, False):
        queue = SendQueue(is_tls)
        pings = [PendingAction("Ping", action_id, Action("Ping").wire) for action_id in "123"]
        queue.extend(pings)
        assert not queue.cancel(pings[0])  # nothing of it was sent
        queue.advance(1)
        assert not queue.cancel(pings[2]) and pings[1] in queue
        assert queue.cancel(pings[1]) and not queue  # a part of it was sent


def test_close_while_connecting_begins(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(server.port)
    original = socket.socketpair

    def socketpair() -> Any:
        client.close()
        return original()

    monkeypatch.setattr(socket, "socketpair", socketpair)
    with pytest.raises(ConnectError):
        client.connect()
    assert not client.connected


def test_error_of_handler_during_a_lookup_is_not_converted(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def getaddrinfo(*arguments: Any) -> Any:
        raise TimeoutError("of a handler")

    client = client_of(server.port)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        with pytest.raises(TimeoutError) as caught:
            client.connect()
    assert type(caught.value) is TimeoutError
    with client:
        client.ping()


def test_error_of_handler_while_a_certificate_is_read_is_not_converted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def create_default_context(**options: Any) -> Any:
        raise TimeoutError("of a handler")

    monkeypatch.setattr(ssl, "create_default_context", create_default_context)
    with pytest.raises(TimeoutError) as caught:
        client_of(1, tls="/etc/pbx.pem").connect()
    assert type(caught.value) is TimeoutError


def test_failed_block_ends_call_of_other_thread() -> None:
    with Script(log_in, read, read_until_eof) as script:
        client = client_of(script.port)

        def ping() -> None:
            with pytest.raises(ConnectionLost):
                client.ping()

        with pytest.raises(ZeroDivisionError):
            with client:
                thread = start_thread(ping)
                script.wait_for_actions(1)
                1 / 0
        thread.join()
        assert not client.connected


def test_repr_of_results(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        results = client.send_messages([MessageSend("pjsip:a", "b")])
        assert "not sent: 1" in repr(results)
        list(results)
        assert "finished" in repr(results)
