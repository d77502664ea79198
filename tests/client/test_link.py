"""The link: what had left, and what had not, when a call was given up."""

from __future__ import annotations

import select
import socket
import time
from typing import List

import pytest

from amiclient import (
    Action,
    AMIError,
    Event,
    EventOverflow,
    MessageSend,
    ResponseTimeout,
    SendFailed,
    SendTimeout,
)
from amiclient._connection import SendQueue
from amiclient._transport import Closed, Deadline
from amiclient.loopback import LoopbackServer, no_response
from tests.certificates import SERVER_PEM, needs_certificates
from tests.faults import Proxy, client_of, client_over, opened, small_buffer_socket, start_thread
from tests.script import (
    Script,
    Step,
    accept,
    accept_all,
    expect,
    hold,
    leave_pending,
    log_in,
    pause,
    read,
    read_until_eof,
    respond,
)


def test_a_record_that_left_in_part_is_not_forgotten() -> None:
    """TLS that could not write a record keeps it, and would write it in place of the next one.

    So what was given up then must close the connection, though by the count of bytes nothing of
    the action had left.
    """
    for attempt in range(160):
        with Script(log_in, hold, accept_all, tls=True, small_buffers=True) as script, opened(
            client_over(small_buffer_socket(script.port), tls=SERVER_PEM, tls_hostname="localhost")
        ) as client:
            link = client._state().connection
            assert link is not None
            # A line of another length each time, so that the socket is full at another place.
            action = Action("Ping", [("X", "x" * (attempt * 3))])
            while True:
                with pytest.raises(AMIError) as caught:
                    client.send_action(action, timeout=0.002)
                action = Action("Ping")
                if isinstance(caught.value, SendTimeout) and caught.value.action_id:
                    break
            if link.transport.has_partial_record:
                assert not client.connected
                if not link._send_queue._offset:
                    return  # a whole record was seen to be kept
            script.release()
            if client.connected:
                receipt = client.send_action(Action("Long-Name"))
                last = script.actions[-1]
                assert last["Action"] == "Long-Name"
                assert last["ActionID"] == receipt.response.action_id
    raise AssertionError("no whole record was kept")


def test_many_chunks_wait_before_an_action_leaves(server: LoopbackServer) -> None:
    event = Event("Tick", [("Text", "x" * 1000)])
    with client_of(server.port, events="on", max_events=10) as client:
        for _ in range(300):
            server.send_event(event)
        client.ping()
        events = client.events()
        assert len([next(events) for _ in range(10)]) == 10
        with pytest.raises(EventOverflow) as caught:
            next(events)
        assert caught.value.actual == 290


def test_an_action_taken_back_whole_is_missed_by_nobody() -> None:
    outbox = SendQueue(is_tls=False)
    for action_id in "12":
        outbox.append(action_id, Action("Ping").wire)
    assert not outbox.remove("1") and not outbox.remove("2") and not outbox


def test_what_was_taken_back_is_missed_where_a_part_had_left() -> None:
    outbox = SendQueue(is_tls=False)
    for action_id in "123":
        outbox.append(action_id, Action("Ping").wire)
    outbox.advance(1)
    assert not outbox.remove("2")
    assert outbox.remove("1")
    assert "3" in outbox and "1" not in outbox
    with pytest.raises(KeyError) as caught:
        outbox.remove("1")
    assert caught.value.args == ("1",)


def test_what_came_before_a_write_failed_is_read_all_the_same(server: LoopbackServer) -> None:
    sock = socket.create_connection((server.host, server.port))
    with opened(client_over(sock, events="on")) as client:
        link = client._state().connection
        assert link is not None
        server.send_event(Event("Tick"))
        assert select.select([sock], [], [], 10.0)[0]
        sock.shutdown(socket.SHUT_WR)
        ticket = link.enqueue(Action("Ping"))
        with pytest.raises(Closed) as caught:
            link.pump(Deadline(10.0))
        assert isinstance(link.abandon(ticket, caught.value), SendFailed)
        event = link.events.popleft()
        assert event is not None and event.wire == Event("Tick").wire


def test_an_action_that_the_socket_does_not_hold_leaves_in_parts() -> None:
    lines = [(f"X-{number}", "x" * 1000) for number in range(100)]
    with Script(log_in, pause(0.1), respond("Success"), small_buffers=True) as script:
        with opened(client_over(small_buffer_socket(script.port))) as client:
            client.send_action(Action("Long", lines), timeout=5.0)
        (sent,) = script.actions
    assert [(name, sent[name]) for name, _ in lines] == lines


def test_results_end_where_the_client_is_opened_anew() -> None:
    with Script(log_in, accept, read, read_until_eof) as script, opened(
        client_of(script.port)
    ) as client:
        results = client.send_messages([MessageSend("sip:a", "x")] * 3, window=2)
        assert next(results).outcome == "accepted"
        client.connect()
        assert all("(the client was opened anew)" in str(result.error) for result in results)


@needs_certificates
def test_closing_ends_what_was_opened_anew_before_its_turn() -> None:
    with LoopbackServer(handlers={"Ping": no_response}) as server:
        with opened(client_of(server.port)) as client:
            shared = client._state()

            def connect() -> None:
                try:
                    client.connect()
                except SendFailed:
                    pass  # it was closed in the middle of its login

            calls = [
                lambda: shared.run_locked(lambda: time.sleep(0.3), Deadline(1.0)),
                connect,
                lambda: pytest.raises(AMIError, client.ping, timeout=20.0),
            ]
            threads = []
            for call in calls:
                threads.append(start_thread(call))
                time.sleep(0.05)
            start = time.monotonic()
            client.close()
            for thread in threads:
                thread.join()
            assert time.monotonic() - start < 10.0 and not client.connected


def test_a_bulk_whose_write_fails_has_sent_nothing() -> None:
    with Script(log_in, hold) as script:
        sock = socket.create_connection(("127.0.0.1", script.port))
        with opened(client_over(sock)) as client:
            sock.shutdown(socket.SHUT_WR)
            results = list(client.send_messages(MessageSend("sip:a", text) for text in "abc"))
            assert [result.outcome for result in results] == ["not_sent"] * 3


def test_a_message_that_left_in_part_and_was_forgotten_closes() -> None:
    with Script(log_in, hold, read_until_eof, small_buffers=True) as script:
        with opened(client_over(small_buffer_socket(script.port))) as client:
            messages = [MessageSend("sip:a", "x" * 1000) for _ in range(500)]
            results = client.send_messages(messages, window=500, timeout=5.0)
            bulk = results._pipeline
            bulk._read_messages()
            bulk._exchange(wait=False)
            assert client._state().open_connection._send_queue
            results.close()
            with pytest.raises(SendFailed, match="a part of it had left"):
                client.ping()
            assert not client.connected


@pytest.mark.parametrize(("second", "outcome"), [(accept, "accepted"), (leave_pending, "unknown")])
def test_a_message_on_its_way_while_another_thread_calls(second: Step, outcome: str) -> None:
    # The two messages, and the call of the other thread, which comes before the second's answer.
    with Script(log_in, read, read, accept, expect("Ping"), second, hold, accept_all) as script:
        with client_of(script.port, 5.0) as client:
            messages = [MessageSend("sip:a", text) for text in "ab"]
            results = client.send_messages(messages, timeout=0.3)
            assert next(results).outcome == "accepted"
            thread = start_thread(client.ping)
            time.sleep(0.1)
            (result,) = results
            assert result.outcome == outcome
            if result.error is not None:
                assert result.error.action_id == script.actions[1]["ActionID"]
            assert client.connected
            script.release()
            thread.join()
            client.ping()
            assert not client._state().open_connection._results
            assert client._state().open_connection._session.outstanding == ()


def test_half_a_record_before_a_call_leaves_it_time(secure: LoopbackServer) -> None:
    with Proxy(secure.port) as proxy:
        with opened(client_of(proxy.port, 5.0, tls=SERVER_PEM, events="on")) as client:
            client.ping()
            proxy.down.stall = len(proxy.down.passed) + 7
            secure.send_event(Event("Tick"))
            time.sleep(0.1)
            with pytest.raises(ResponseTimeout):
                client.ping(timeout=0.1)
            proxy.down.stall = None
            client.ping()


def test_closing_is_finished_where_it_is_interrupted(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: List[BaseException] = [KeyboardInterrupt()]

    def end(why: str) -> None:
        if errors:
            raise errors.pop()

    with opened(client_of(server.port)) as client:
        transport = client._state().transport
        assert transport is not None
        with monkeypatch.context() as patch:
            patch.setattr(transport, "request_close", end)
            with pytest.raises(KeyboardInterrupt):
                client.close()
        assert not client.connected and transport.sock.fileno() < 0
        client._state().wake()  # as a call that came late would


def test_closing_waits_for_what_cannot_be_ended(server: LoopbackServer) -> None:
    with opened(client_of(server.port)) as client:
        # As the look-up of a name in connect().
        thread = start_thread(
            lambda: client._state().run_locked(lambda: time.sleep(0.3), Deadline(1))
        )
        time.sleep(0.05)
        start = time.monotonic()
        client.close()
        assert 0.1 < time.monotonic() - start < 2.0 and not client.connected
        thread.join()


def test_a_bulk_left_half_way_ends_the_wait_of_a_listener() -> None:
    """The server waits for the rest of a message that nobody wants to send any more."""
    with Script(log_in, accept, hold, small_buffers=True) as script:
        with opened(client_over(small_buffer_socket(script.port), events="on")) as client:
            results = client.send_messages(
                [MessageSend("sip:a", "x" * 1000) for _ in range(1000)], window=1000
            )
            assert next(results).outcome == "accepted"
            results.close()
            words = "waiting: an action was given up when a part of it had left; connect again"
            with pytest.raises(AMIError, match=words):
                list(client.events(timeout=5.0))
            assert not client.connected
