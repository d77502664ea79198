"""What servers do at their worst is bounded, in bytes and in time; and no error shows a secret."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import threading
import time
import traceback
from typing import Any, Iterator, List

import pytest

from amiclient import (
    ACCEPTED,
    FAILED,
    Action,
    ActionFailed,
    AMIError,
    EventOverflow,
    LoginFailed,
    MessageSend,
    NotConnected,
    ResponseTimeout,
    SendFailed,
    SendTimeout,
)
from amiclient._connection import EventBuffer
from amiclient.loopback import LoopbackServer
from amiproto import SHUTTING_DOWN, Event
from amiproto.limits import MAX_OUTSTANDING
from tests.faults import client_of, client_over, error_within, opened, start_thread
from tests.peer import BANNER, Peer, response
from tests.script import (
    Script,
    Step,
    accept_all,
    leave_pending,
    log_in,
    read,
    read_until_eof,
    repeat,
    repeat_forever,
    reset,
    respond,
    send,
)


def test_events_are_bounded_in_bytes() -> None:
    # 1,000 events are far below the number that is kept, and 60 MB above the bytes.
    event = b"Event: Big\r\n" + b"X: %s\r\n" % (b"x" * 60_000) + b"\r\n"
    with Script(log_in, read, repeat(1000, send(event)), accept_all) as script:
        with client_of(script.port) as client:
            client.ping()
            kept = 0
            with pytest.raises(EventOverflow) as caught:
                for _ in client.events(timeout=0.2):
                    kept += 1
            assert kept * len(event) <= 32 * 1024 * 1024 < (kept + 1) * len(event)
            assert caught.value.actual == 1000 - kept


def test_bytes_of_events_that_were_taken_count_no_more() -> None:
    event = Event("E", [("X", "y" * 50)])
    events = EventBuffer(100, 3 * len(event.wire))
    for _ in range(3):
        for _ in range(3):
            events.add(event)
        assert [events.popleft() for _ in range(3)] == [event] * 3
        assert events.popleft() is None and not events
    for _ in range(4):
        events.add(event)
    assert [events.popleft() for _ in range(3)] == [event] * 3 and events
    with pytest.raises(EventOverflow, match="1 events were lost"):
        events.popleft()


def test_a_server_that_owes_too_many_answers_is_left() -> None:
    with Script(log_in, read_until_eof) as script, opened(client_of(script.port)) as client:
        session = client._state().open_connection._session
        for _ in range(MAX_OUTSTANDING):  # as calls that each gave up
            action_id = session.send(Action("Ping")).action_id
            assert action_id is not None
            session.abandon(action_id)
        with pytest.raises(SendFailed, match="left 4096 actions without an answer"):
            client.ping()
        assert not client.connected
        with pytest.raises(NotConnected, match="without an answer"):
            client.ping()


def test_a_session_that_is_full_of_awaited_answers_goes_on(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        session = client._state().open_connection._session
        ids = [session.send(Action("Ping")).action_id for _ in range(MAX_OUTSTANDING)]
        with pytest.raises(AMIError, match="read answers first"):
            client.ping()
        for action_id in ids:
            assert action_id is not None
            session.cancel(action_id)
        client.ping()


def test_reading_the_rest_has_a_deadline() -> None:
    # A Unix socket whose peer floods and then does not let us write.
    ours, theirs = socket.socketpair()
    flood = repeat_forever(send(b"Event: Noise\r\n\r\n" * 4000))
    with Script(log_in, lambda peer: peer.sock.shutdown(socket.SHUT_RD), flood) as script:
        script.add_client(theirs)
        with opened(client_over(ours, max_events=10)) as client:
            time.sleep(0.05)
            error = error_within(0.5, lambda: client.ping(timeout=0.5))
            assert type(error) in (SendFailed, SendTimeout, NotConnected)


def test_a_server_that_is_told_to_stop() -> None:
    refuse = respond("Error", f"Message: {SHUTTING_DOWN}")
    with Script(log_in, repeat_forever(refuse)) as script, client_of(script.port) as client:
        with pytest.raises(ActionFailed) as caught:
            client.send_message("sip:a", "b")
        assert caught.value.retryable and caught.value.outcome == FAILED
        results = list(client.send_messages(MessageSend("sip:a", str(n)) for n in range(50)))
        assert all(result.outcome == FAILED and result.retryable for result in results)


# -- Secrets.


def _frames_of(error: BaseException) -> Iterator[str]:
    """The variables of every frame of an error, and of those it came of."""
    seen: List[BaseException] = []
    todo: List[Any] = [error]
    while todo:
        one = todo.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        todo += [one.__cause__, one.__context__]
        yield repr(one) + repr(vars(one))
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if "/ami" in frame.f_code.co_filename:
                yield from map(repr, frame.f_locals.values())


_S = "t0p-s3cret"


def _echo(peer: Peer) -> None:
    action = peer.read()
    peer.send(response(action, "Error", f"Message: bad secret {action.get('Secret')}"))


def _nonsense(peer: Peer) -> None:
    peer.send(b"X: " + peer.read().get("Secret", "").encode() * 10_000)


@pytest.mark.parametrize("step", [_echo, read_until_eof, _nonsense, reset])
def test_no_error_of_a_plain_login_shows_the_secret(step: Step) -> None:
    with Script(send(BANNER), step, read_until_eof) as script:
        client = client_of(script.port, 0.3, username="u", secret=_S, mechanism="plain")
        with pytest.raises(AMIError) as caught:
            client.connect()
        shown = list(_frames_of(caught.value))
        assert len(shown) > 3
        for text in [*shown, str(pickle.loads(pickle.dumps(caught.value)).to_dict())]:
            assert _S not in text
        if step is _echo:
            assert isinstance(caught.value, LoginFailed)
            assert caught.value.server_message == "bad secret <redacted>"
        del caught


# -- Logs.


def test_logs_name_actions_and_never_what_they_hold(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "amiclient")
    reply = respond("Success", "Message: secret words")
    with Script(log_in, reply, leave_pending, repeat_forever(reply)) as script, client_of(
        script.port
    ) as client:
        receipt = client.send_message("sip:alice", "private words", variables={"X-A": "words"})
        with pytest.raises(ResponseTimeout) as caught:
            client.send_message("sip:alice", "silent words", timeout=0.05)
        results = list(client.send_messages([MessageSend("sip:bob", "words")] * 3))
        assert [result.outcome for result in results] == [ACCEPTED] * 3
    lines = [record.getMessage() for record in caplog.records]
    (line,) = [line for line in lines if receipt.action_id in line]
    assert line.startswith(f"MessageSend, ActionID {receipt.action_id}: Success after 0.0")
    (line,) = [line for line in lines if str(caught.value.action_id) in line]
    assert ": unknown after 0.0" in line
    for result in results:
        assert result.receipt is not None
        assert len([line for line in lines if result.receipt.action_id in line]) == 1
    for word in ("words", "alice", "bob", "X-A"):
        assert word not in caplog.text


# -- Forks.


def test_threads_of_a_new_process_share_one_turn(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(client_of(server.port)) as client:
        own = os.getpid()
        for number in range(1, 40):
            monkeypatch.setattr(os, "getpid", lambda: own + number)
            found: List[object] = []
            start = threading.Barrier(4)

            def look() -> None:
                start.wait()
                found.append(client._state())

            threads = [start_thread(look) for _ in range(4)]
            for thread in threads:
                thread.join()
            assert len({id(one) for one in found}) == 1
        client.connect()  # which drops the copies of all others
        assert len(client._states) == 1
