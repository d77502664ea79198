"""The client against servers that behave, and ones that do not, over real sockets."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Callable, Dict, Iterable, List, Optional, Union

import pytest

from amiclient import (
    ACCEPTED,
    FAILED,
    NOT_SENT,
    UNKNOWN,
    Action,
    ActionFailed,
    AMIError,
    Client,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    Event,
    EventOverflow,
    LocalProtocolError,
    LoginFailed,
    MessageSend,
    NotAnAMIServer,
    NotConnected,
    OutcomeUnknown,
    Receipt,
    Response,
    ResponseTimeout,
    SendFailed,
    SendTimeout,
    TLSError,
)
from amiclient.loopback import SECRET, LoopbackServer, Output
from amiproto import Message, UnknownMessage
from tests.certificates import SERVER_PEM, needs_certificates
from tests.faults import (
    Direction,
    Proxy,
    alarm_handler,
    assert_no_fd_leak,
    client_of,
    client_over,
    error_within,
    opened,
    raise_interrupt,
    small_buffer_socket,
    start_thread,
)
from tests.peer import BANNER, Peer, accepted
from tests.readme import ROOT
from tests.script import (
    EVENT,
    Script,
    Step,
    accept,
    accept_all,
    expect,
    expect_eof,
    for_later_clients,
    hold,
    in_one_write,
    log_in,
    pause,
    read,
    read_until_eof,
    repeat,
    repeat_forever,
    respond,
    send,
)

# -- A server that behaves.


def test_a_message_arrives_and_its_receipt_names_it(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        receipt = client.send_message(
            "sip:a@example.org",
            "hello, 世界",
            "Door <sip:d@example.org>",
            {"X-A": "1, 2"},
            "pjsip:b",
        )
        assert client.connected and client.server_version == "11.0.0"
    assert not client.connected
    assert isinstance(receipt, Receipt) and receipt.outcome == ACCEPTED
    (message,) = server.messages
    assert message.action_id == receipt.action_id == receipt.response.action_id
    assert (message.to, message.text, message.from_, message.variables, message.destination) == (
        "sip:a@example.org",
        "hello, 世界",
        "Door <sip:d@example.org>",
        (("X-A", "1, 2"),),
        "pjsip:b",
    )


def test_a_message_that_was_built_keeps_its_action_id(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        receipt = client.send(MessageSend("sip:alice", "x", action_id="mine"))
        assert receipt.action_id == "mine" == server.messages[0].action_id


def test_a_refused_message_raises_the_server_s_words(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        with pytest.raises(ActionFailed, match="Message technology not found") as caught:
            client.send_message("smoke:signal", "x")
        assert caught.value.outcome == FAILED
        assert caught.value.server_message == "Message technology not found."
        assert caught.value.action_id == caught.value.response.action_id
        client.send_message("sip:alice", "y")  # the session goes on
    assert [message.text for message in server.messages] == ["y"]


def test_a_message_that_cannot_be_said_is_refused_here(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        with pytest.raises(LocalProtocolError) as caught:
            client.send_message("sip:alice\r\n\r\nAction: Ping", "x")
        assert caught.value.outcome == NOT_SENT
        with pytest.raises(LocalProtocolError):
            client.send_message("sip:alice", "x" * 1017)
        client.ping()
    assert server.messages == []


@pytest.mark.parametrize("mechanism", ["md5", "plain"])
def test_both_ways_to_log_in(server: LoopbackServer, mechanism: str) -> None:
    for is_given in (False, True):
        with Proxy(server.port) as proxy:
            if is_given:
                sock = socket.create_connection(("127.0.0.1", proxy.port))
                client = client_over(sock, mechanism=mechanism)
            else:
                client = client_of(proxy.port, mechanism=mechanism)
            with client:
                client.ping()
            assert (SECRET.encode() in bytes(proxy.up.passed).partition(b"Secret: ")[2]) == (
                mechanism == "plain"
            )


def test_no_event_comes_over_a_given_socket_unasked(server: LoopbackServer) -> None:
    with client_over(socket.create_connection((server.host, server.port))) as client:
        server.send_event(Event("Tick"))
        assert list(client.events(timeout=0.05)) == []


def test_a_message_without_a_body_is_empty(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        client.send_message("sip:a")
    assert [message.text for message in server.messages] == [""]


def test_a_command_leaves_as_it_was_written() -> None:
    handlers = {"Command": Output(["Asterisk"])}
    with LoopbackServer(handlers=handlers) as server, client_of(server.port) as client:
        assert client.command("core show version") == ("Asterisk",)
        (action,) = server.actions
    expected = Action("Command", [("Command", "core show version")], action_id=action.action_id)
    assert action.wire == expected.wire


def test_a_refused_command_has_its_output() -> None:
    def handler(action: Action) -> Iterable[Message]:
        return [Response("Error", action_id=action.action_id, output=["No such command"])]

    with LoopbackServer(handlers={"Command": handler}) as server, client_of(server.port) as client:
        with pytest.raises(ActionFailed) as caught:
            client.command("nonsense")
        assert caught.value.response.output == ("No such command",)


def test_a_list_comes_with_its_events() -> None:
    def handler(action: Action) -> Iterable[Message]:
        key = action.action_id
        yield Response("Success", [("EventList", "start")], action_id=key)
        for number in "12":
            yield Event("Entry", [("Number", number)], action_id=key)
        yield Event("EntryDone", [("EventList", "Complete"), ("ListItems", "2")], action_id=key)

    with LoopbackServer(handlers={"Entries": handler}) as server, client_of(server.port) as client:
        reply = client.send_action(Action("Entries"))
        assert [event.headers["Number"] for event in reply.events] == ["1", "2"]
        assert reply.complete is not None and reply.complete.name == "EntryDone"
        plain = client.send_action(Action("Ping"))
        assert plain.complete is None and plain.events == () and plain.response.name == "Success"


# -- Opening and closing.


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.ping(),
        lambda client: client.send_message("sip:a", "b"),
        lambda client: client.send_messages([]),
        lambda client: client.logoff(),
        lambda client: next(client.events()),
    ],
)
def test_a_client_that_is_not_open_says_so(call: Callable[[Client], object]) -> None:
    client = client_of(1)
    with pytest.raises(NotConnected) as caught:
        call(client)
    assert caught.value.outcome == NOT_SENT
    client.close()  # closed already is fine


def test_the_same_client_opens_again(server: LoopbackServer) -> None:
    client = client_of(server.port)
    for number in range(3):
        with client:
            client.send_message("sip:a", str(number))
    client.connect()
    client.connect()  # closes the one before
    client.send_message("sip:a", "3")
    client.logoff()
    assert not client.connected
    assert [message.text for message in server.messages] == ["0", "1", "2", "3"]


def test_leaving_a_block_says_goodbye(server: LoopbackServer) -> None:
    with Proxy(server.port) as proxy:
        with client_of(proxy.port):
            pass
        assert b"Action: Logoff\r\n" in proxy.up.passed
        assert b"Response: Goodbye\r\n" in proxy.down.passed


def test_what_is_left_after_a_logoff_is_told_so(server: LoopbackServer) -> None:
    with opened(client_of(server.port)) as client:
        results = client.send_messages([MessageSend("sip:a", "x")] * 3, window=1)
        next(results)
        client.logoff()
        assert all("(the client logged off)" in str(result.error) for result in results)


@pytest.mark.skipif(os.name != "posix", reason="needs descriptors of sockets")
def test_a_socket_may_be_standard_input(server: LoopbackServer) -> None:
    # As that of a program which a super-server starts.
    before = os.dup(0)
    try:
        with socket.create_connection((server.host, server.port)) as sock:
            os.dup2(sock.fileno(), 0)
        with client_over(socket.socket(fileno=0)) as client:
            client.ping()
    finally:
        os.dup2(before, 0)
        os.close(before)


def test_the_log_says_where_it_logged_in(
    server: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "amiclient")
    with opened(client_of(server.port)):
        lines = [record.getMessage() for record in caplog.records]
    assert lines == [f"logged in at 127.0.0.1 port {server.port}, AMI 11.0.0"]


def test_an_error_in_a_block_closes_at_once(server: LoopbackServer) -> None:
    with Proxy(server.port) as proxy:
        with pytest.raises(ZeroDivisionError):
            with client_of(proxy.port) as client:
                1 / 0
        assert not client.connected
        assert b"Logoff" not in proxy.up.passed


@pytest.mark.parametrize(("timeout", "most"), [(0.2, 1.9), (None, 3.0)])
def test_leaving_a_block_waits_two_seconds_at_the_most(
    timeout: Optional[float], most: float
) -> None:
    with Script(log_in, read_until_eof) as script:
        start = time.monotonic()
        with client_of(script.port, timeout):
            pass
        assert time.monotonic() - start < most


def test_every_path_closes_the_socket(server: LoopbackServer) -> None:
    with assert_no_fd_leak():
        for _ in range(3):
            with client_of(server.port) as client:
                client.ping()
            with pytest.raises(LoginFailed):
                with client_of(server.port, secret="wrong"):
                    pass
            for tls in (True, "no such file"):
                with pytest.raises(TLSError):
                    with client_of(server.port, tls=tls):
                        pass
            with client_of(server.port) as client:
                client.connect()
            with client_of(server.port) as client:
                client.close()
            with pytest.raises(ValueError):
                with client_of(server.port) as client:
                    raise ValueError
        gc.collect()  # a socket that was left open warns now, and a warning is an error


def test_a_failed_opening_does_not_keep_an_old_session(server: LoopbackServer) -> None:
    client = client_of(server.port)
    client.connect()
    server.close()
    with pytest.raises(ConnectError):
        client.port = 1
        client.connect()
    assert not client.connected
    with pytest.raises(NotConnected):
        client.ping()


# -- The five errors of a first try.


def test_a_wrong_secret(server: LoopbackServer) -> None:
    client = client_of(server.port, secret="wr0ng s3cret")
    with pytest.raises(LoginFailed, match="Authentication failed") as caught:
        client.connect()
    assert caught.value.outcome == NOT_SENT
    assert "wr0ng" not in str(caught.value) + repr(caught.value) + repr(client)
    assert not client.connected


def test_no_server() -> None:
    with Script() as script:
        port = script.port
    with pytest.raises(ConnectError, match="nothing accepts connections") as caught:
        client_of(port).connect()
    assert caught.value.outcome == NOT_SENT and caught.value.field == "port"
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


def test_a_server_that_closes_at_once() -> None:
    with Script() as script:
        with pytest.raises(SendFailed, match="authlimit") as caught:
            client_of(script.port).connect()
        assert caught.value.outcome == NOT_SENT


@needs_certificates
@pytest.mark.parametrize(
    ("said", "tls", "words"),
    [
        (b"", False, "manager's port, and TLS or not"),
        (BANNER[:10], False, "in time"),
        (BANNER, False, "in time"),
        (b"", SERVER_PEM, "TLS"),
    ],
    ids=["nothing", "half", "banner", "no TLS"],
)
def test_a_server_that_never_answers(said: bytes, tls: Union[bool, str], words: str) -> None:
    with Script(send(said), read_until_eof) as script:
        error = error_within(0.3, client_of(script.port, 0.3, tls=tls).connect)
    assert type(error) is ConnectTimeout and error.outcome == NOT_SENT and error.retryable
    assert words in str(error)


def test_an_answer_of_error_to_the_message() -> None:
    with Script(log_in, respond("Error", "Message: Message failed to send.")) as script:
        with client_of(script.port) as client:
            with pytest.raises(ActionFailed, match="Message failed to send."):
                client.send_message("pjsip:a", "x")


# -- Servers that are none.


@pytest.mark.parametrize(
    "step",
    [
        send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
        send(b"SSH-2.0-OpenSSH_9.2\r\n"),
        send(b"220 mail.example.org ESMTP\r\n"),
        send(b"\r\n" * 1000),
        send(b"x" * 5000),
        send(b"\x00" * 300),
        send(b"Asterisk Call Manager\r\n"),
        repeat_forever(send(b"x" * 5000)),
    ],
    ids=["http", "ssh", "smtp", "blank", "long", "nul", "no version", "endless"],
)
def test_what_speaks_something_else(step: Step) -> None:
    with Script(step, read_until_eof) as script:
        with pytest.raises(NotAnAMIServer) as caught:
            client_of(script.port).connect()
    assert caught.value.outcome == NOT_SENT


def test_plain_to_the_port_of_tls_and_the_reverse(
    server: LoopbackServer, secure: LoopbackServer
) -> None:
    error = error_within(0.3, client_of(secure.port, 0.3).connect)
    assert type(error) is ConnectTimeout and "TLS or not" in str(error)
    with pytest.raises(TLSError, match="this is the TLS port"):
        client_of(server.port, tls=SERVER_PEM).connect()


def test_nonsense_in_mid_login() -> None:
    with Script(send(BANNER, b"Response: " + b"x" * 70_000), read_until_eof) as script:
        with pytest.raises(NotAnAMIServer, match="line of over"):
            client_of(script.port).connect()


def test_nonsense_while_nobody_reads() -> None:
    with Script(log_in, hold, send(b"Response: " + b"x" * 70_000), read_until_eof) as script:
        with opened(client_of(script.port)) as client:
            script.release()
            time.sleep(0.1)  # it waits to be read before the next action
            with pytest.raises(SendFailed, match="line of over"):
                client.ping()


# -- Bytes that come slowly, in pieces, all at once, or among thousands of others.


def test_a_dripping_server_does_not_stretch_the_deadline(server: LoopbackServer) -> None:
    with Proxy(server.port) as proxy, client_of(proxy.port) as client:
        client.ping()
        proxy.down.size, proxy.down.pause = 1, 0.02
        error = error_within(0.3, lambda: client.ping(timeout=0.3))
        assert type(error) is ResponseTimeout and error.outcome == UNKNOWN
        proxy.down.size, proxy.down.pause = 1 << 20, 0.0
        receipt = client.send_message("sip:a", "b")  # the late answers are not taken for its own
        assert receipt.server_message == "Message successfully sent"
        assert receipt.response.action_id == receipt.action_id


def test_a_dripping_login_does_not_stretch_the_deadline(server: LoopbackServer) -> None:
    with Proxy(server.port, down=Direction(size=1, pause=0.02)) as proxy:
        error = error_within(0.3, client_of(proxy.port, 0.3).connect)
        assert type(error) is ConnectTimeout


@pytest.mark.slow
def test_a_drip_that_is_in_time_is_in_time(server: LoopbackServer) -> None:
    with Proxy(server.port) as proxy, client_of(proxy.port) as client:
        proxy.down.size, proxy.down.pause = 1, 0.01
        client.send_message("sip:a", "b")
        proxy.down.pause, proxy.up.size, proxy.up.pause = 0.0, 1, 0.005
        client.send_message("sip:a", "c")
        proxy.up.size, proxy.up.pause = 1 << 20, 0.0
    assert [message.text for message in server.messages] == ["b", "c"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 61])
def test_answers_split_anywhere(server: LoopbackServer, size: int) -> None:
    with Proxy(server.port, down=Direction(size=size)) as proxy, client_of(proxy.port) as client:
        for number in range(5):
            client.send_message("sip:a", str(number))
        with pytest.raises(ActionFailed):
            client.send_message("no:a", "b")
    assert [message.text for message in server.messages] == list("01234")


def test_answers_glued_together() -> None:
    glued = in_one_write(
        send(EVENT), accept, respond("Error", "Message: no"), send(EVENT), accept, send(EVENT)
    )
    with Script(log_in, repeat(3, read), glued, accept_all) as script, client_of(
        script.port
    ) as client:
        messages = [MessageSend("sip:a", text) for text in "abc"]
        results = list(client.send_messages(messages, window=3))
        assert [result.outcome for result in results] == [ACCEPTED, FAILED, ACCEPTED]
        client.ping()
        assert len(list(client.events(timeout=0))) == 3


def test_events_by_the_thousand_between_answers() -> None:
    noisily = (read, send(EVENT * 4000), in_one_write(accept, send(EVENT)))
    with Script(log_in, repeat(3, *noisily)) as script:
        with client_of(script.port, events="on") as client:
            for _ in range(3):
                assert client.send_message("sip:a", "b").outcome == ACCEPTED
            count = 0
            with pytest.raises(EventOverflow) as caught:
                for event in client.events(timeout=0.2):
                    count += 1
                    assert isinstance(event, Event) and event.headers["Uniqueid"] == "1.2"
            assert count == caught.value.limit == 10_000
            assert caught.value.actual == 2003


@pytest.mark.parametrize(
    ("noise", "tls"),
    [
        (b"\r\n" * 5000, False),
        pytest.param(EVENT * 50_000, False, marks=pytest.mark.slow),
        pytest.param(EVENT * 50_000, SERVER_PEM, marks=pytest.mark.slow),
    ],
    ids=["blank lines", "events", "events over TLS"],
)
def test_a_flood_without_end_does_not_stretch_the_deadline(
    noise: bytes, tls: Union[bool, str]
) -> None:
    with Script(log_in, read, repeat_forever(send(noise)), tls=bool(tls)) as script:
        with opened(client_of(script.port, tls=tls)) as client:
            for _ in range(2):  # in the next call the flood is there from the start
                error = error_within(0.4, lambda: client.ping(timeout=0.4))
                assert type(error) in (ResponseTimeout, SendTimeout)


@pytest.mark.slow
def test_answers_in_a_flood_of_events_are_found() -> None:
    def flood(peer: Peer) -> None:  # faster than anyone can read, from a thread of its own
        lock = threading.Lock()

        def write() -> None:
            try:
                while True:
                    with lock:
                        peer.send(EVENT * 10_000)
            except OSError:
                pass  # the client is gone

        thread = start_thread(write)
        try:
            while True:
                action = peer.read()
                with lock:
                    peer.send(accepted(action))
        finally:
            thread.join()

    with Script(log_in, flood) as script:
        with opened(client_of(script.port, 30.0, max_events=10)) as client:
            for _ in range(3):
                client.send_message("sip:a", "b")


def test_a_flood_that_takes_all_the_time_lets_nothing_leave() -> None:
    with Script(log_in, repeat_forever(send(EVENT * 5000))) as script:
        with opened(client_of(script.port, max_events=10)) as client:
            time.sleep(0.1)
            for _ in range(100):
                with pytest.raises(AMIError) as caught:
                    client.ping(timeout=0.003)
                if isinstance(caught.value, SendTimeout):
                    break
            assert caught.value.outcome == NOT_SENT


def test_answers_without_action_id() -> None:
    answers = [
        respond(name, "Message: words", with_id=False) for name in ("Success", "Error", "Success")
    ]
    with Script(log_in, *answers) as script, client_of(script.port) as client:
        client.send_message("sip:a", "1")
        with pytest.raises(ActionFailed, match="words"):
            client.send_message("sip:a", "2")
        assert client.send_message("sip:a", "3").server_message == "words"


@pytest.mark.parametrize("with_id", [True, False])
def test_an_answer_that_comes_after_its_caller_gave_up(with_id: bool) -> None:
    late = respond("Error", "Message: late", with_id=with_id)
    mine = respond("Success", "Message: mine", with_id=with_id)
    with Script(log_in, read, hold, late, mine, accept_all) as script:
        with client_of(script.port) as client:
            with pytest.raises(ResponseTimeout) as caught:
                client.send_message("sip:a", "1", timeout=0.05)
            assert caught.value.outcome == UNKNOWN and caught.value.action_id
            script.release()
            receipt = client.send_message("sip:a", "2")
            assert (receipt.outcome, receipt.server_message) == (ACCEPTED, "mine")
            assert list(client.events(timeout=0)) == []  # the late one is dropped, not an event
            assert not client._state().open_connection._results  # nor kept for ever


def test_an_answer_in_the_last_moment_counts() -> None:
    with Script(log_in, accept) as script, client_of(script.port) as client:
        client.send_message("sip:a", "1")  # answer and end come together
        with pytest.raises(SendFailed) as caught:
            time.sleep(0.05)
            client.send_message("sip:a", "2")
        assert caught.value.outcome == NOT_SENT


# -- Servers that leave.


@pytest.mark.parametrize("action", [MessageSend("sip:a", "b"), Action("Ping")])
def test_goodbye_in_place_of_an_answer_leaves_it_open(action: Action) -> None:
    goodbye = respond("Goodbye", "Message: Thanks for all the fish.", with_id=False)
    with Script(log_in, goodbye) as script, client_of(script.port) as client:
        with pytest.raises(OutcomeUnknown, match="Goodbye") as caught:
            client.send_action(action)
        assert caught.value.outcome == UNKNOWN


def test_a_response_of_another_name_is_no_receipt() -> None:
    with Script(log_in, respond("Perhaps", "Message: who knows")) as script:
        with client_of(script.port) as client, pytest.raises(OutcomeUnknown, match="Perhaps"):
            client.send_message("sip:a", "b")


def test_a_shutdown_in_the_middle() -> None:
    shutdown = send(b"Event: Shutdown\r\nShutdown: Cleanly\r\nRestart: False\r\n\r\n")
    with Script(log_in, read, shutdown) as script, client_of(script.port, events="on") as client:
        with pytest.raises(ConnectionLost) as caught:
            client.send_message("sip:a", "b")
        assert caught.value.outcome == UNKNOWN
        (event,) = [next(client.events())]  # what came before the end can still be read
        assert isinstance(event, Event) and event.name == "Shutdown"
        with pytest.raises(NotConnected, match="the server closed the connection"):
            next(client.events())
        with pytest.raises(NotConnected, match="connect()"):
            client.ping()


def test_a_dead_connection_is_seen_before_a_byte_leaves() -> None:
    with Script(log_in, for_later_clients(accept)) as script:  # as one that restarts
        client = client_of(script.port)
        client.connect()
        time.sleep(0.05)
        with pytest.raises(SendFailed, match="connect again and send again"):
            client.send_message("sip:a", "only once")
        with opened(client):
            client.send_message("sip:a", "only once")
    assert [action["Body"] for action in script.actions] == ["only once"]


def test_a_reset_in_the_middle(server: LoopbackServer) -> None:
    with Proxy(server.port, reset=True) as proxy:
        client = client_of(proxy.port)
        client.connect()
        proxy.cut()
        time.sleep(0.05)
        with pytest.raises(SendFailed):
            client.ping()
        client.connect()
        proxy.down.stall = len(proxy.down.passed)
        errors: List[AMIError] = []

        def call() -> None:
            with pytest.raises(ConnectionLost) as caught:
                client.ping()
            errors.append(caught.value)

        thread = start_thread(call)
        time.sleep(0.1)
        proxy.cut()
        thread.join()
        assert errors[0].outcome == UNKNOWN
        client.close()


@pytest.mark.parametrize(
    "said",
    [b"Response: Success\r\nX: " + b"x" * 70_000, b"Response: Success\r\n" + b"X: y\r\n" * 800_000],
    ids=["line", "stanza"],
)
def test_an_answer_over_the_limits_ends_the_connection(said: bytes) -> None:
    with Script(log_in, read, send(said), read_until_eof) as script, client_of(
        script.port
    ) as client:
        with pytest.raises(ConnectionLost, match="the server sent a") as caught:
            client.send_message("sip:a", "b")
        assert caught.value.outcome == UNKNOWN
        assert not client.connected


# -- Deadlines.


_Calls: List[Callable[[Client, float], object]] = [
    lambda client, timeout: client.ping(timeout=timeout),
    lambda client, timeout: client.send_message("sip:a", "b", timeout=timeout),
    lambda client, timeout: client.send(MessageSend("sip:a", "b"), timeout=timeout),
    lambda client, timeout: client.send_action(Action("Status"), timeout=timeout),
    lambda client, timeout: client.command("core show version", timeout=timeout),
]


@pytest.mark.parametrize("call", _Calls)
@pytest.mark.parametrize("timeout", [0.05, 0.3])
def test_each_call_ends_by_its_own_timeout(
    call: Callable[[Client, float], object], timeout: float
) -> None:
    with Script(log_in, read_until_eof) as script, opened(client_of(script.port, None)) as client:
        error = error_within(max(timeout, 0.2), lambda: call(client, timeout))
        assert type(error) is ResponseTimeout
        assert client.connected  # the session goes on


def test_logoff_closes_whether_there_is_an_answer_or_not() -> None:
    with Script(log_in, read_until_eof) as script, opened(client_of(script.port)) as client:
        with pytest.raises(ResponseTimeout):
            client.logoff(timeout=0.1)
        assert not client.connected


def test_no_call_of_another_comes_between_goodbye_and_the_end() -> None:
    goodbye = respond("Goodbye", "Message: Thanks for all the fish.")
    errors: List[AMIError] = []
    with Script(log_in, expect("Logoff"), hold, goodbye, expect_eof) as script:
        with opened(client_of(script.port)) as client:

            def call() -> None:
                with pytest.raises(NotConnected) as caught:
                    client.ping()
                errors.append(caught.value)

            leaving = start_thread(client.logoff)
            script.wait_for_actions(1)
            calling = start_thread(call)
            while calling.is_alive() and not client._state().lock.has_waiters():
                time.sleep(0.001)
            script.release()
            leaving.join()
            calling.join()
        script.wait_for_end()
    assert len(errors) == 1 and "the client logged off" in str(errors[0])


def test_the_client_s_timeout_is_that_of_calls_that_name_none() -> None:
    with Script(log_in, read_until_eof) as script, opened(client_of(script.port, 0.2)) as client:
        assert type(error_within(0.2, client.ping)) is ResponseTimeout


def test_no_timeout_waits() -> None:
    with Script(log_in, repeat(2, read, pause(0.3), accept)) as script:
        with client_of(script.port, 0.1) as client:
            client.ping(timeout=None)
            client.ping(timeout=float("inf"))


@needs_certificates
def test_no_time_at_all_sends_nothing(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        with pytest.raises(SendTimeout) as caught:
            client.send_message("sip:a", "b", timeout=0)
        assert caught.value.outcome == NOT_SENT
        client.ping()
    assert server.messages == []
    with pytest.raises(ConnectTimeout):
        client_of(server.port, 0).connect()
    with pytest.raises(ConnectTimeout):
        client_of(server.port, 0, tls=SERVER_PEM).connect()


# -- Events.


def test_events_come_in_order_and_end_when_none_comes(server: LoopbackServer) -> None:
    with client_of(server.port, events="on") as client:
        for number in range(5):
            server.send_event(Event("Tick", [("Number", str(number))]))
        seen = [event.headers["Number"] for event in client.events(timeout=0.2)]
        assert seen == list("01234")
        assert list(client.events(timeout=0)) == []


def test_events_off_is_off(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        server.send_event(Event("Tick"))
        client.ping()
        assert list(client.events(timeout=0)) == []


def test_a_gap_in_the_events_is_told_where_it_is() -> None:
    def events_of(*numbers: int) -> Step:
        return send(*[b"Event: E\r\nNumber: %d\r\n\r\n" % number for number in numbers])

    with Script(
        log_in,
        read, events_of(0, 1, 2, 3, 4), accept,
        read, events_of(10, 11, 12, 13, 14), accept,
        hold, events_of(20), accept_all,
    ) as script, client_of(script.port, events="on", max_events=3) as client:  # fmt: skip
        client.ping()
        seen: List[str] = []
        events = client.events(timeout=0.5)
        seen.append(next(events).headers["Number"])
        client.ping()  # five more, for which there would be room now
        with pytest.raises(EventOverflow) as caught:
            seen.extend(event.headers["Number"] for event in events)
        assert seen == ["0", "1", "2"]
        assert caught.value.actual == 7
        script.release()
        assert next(client.events()).headers["Number"] == "20"


def test_what_belongs_to_no_action_is_among_the_events() -> None:
    strange = send(b"Nonsense: x\r\n\r\n", b"Response: Success\r\nActionID: other\r\n\r\n")
    with Script(log_in, strange, read_until_eof) as script, client_of(script.port, 0.3) as client:
        first, second = client.events()
        assert isinstance(first, UnknownMessage) and isinstance(second, Response)


def test_a_break_while_waiting_for_events(server: LoopbackServer) -> None:
    with Proxy(server.port) as proxy, client_of(proxy.port, events="on") as client:
        threading.Timer(0.1, proxy.cut).start()
        with pytest.raises(ConnectionLost):
            next(client.events())


def test_two_listeners_do_not_keep_each_other_busy(server: LoopbackServer) -> None:
    with client_of(server.port, events="on") as client:
        waiting = start_thread(lambda: list(client.events(timeout=0.4)))
        time.sleep(0.1)
        start = time.process_time()
        assert list(client.events(timeout=0.1)) == []  # its turn does not come in time
        client.ping()
        assert time.process_time() - start < 0.08
        waiting.join()


def test_a_call_that_takes_all_the_time_of_another() -> None:
    with Script(log_in, read, hold, accept_all) as script, client_of(script.port) as client:
        calling = start_thread(client.ping)
        time.sleep(0.1)
        error = error_within(0.2, lambda: client.ping(timeout=0.2))
        assert type(error) is SendTimeout and "another thread" in str(error)
        results = client.send_messages([MessageSend("sip:a", "b")], timeout=0.2)
        (result,) = results
        assert type(result.error) is SendTimeout and client.connected
        client.timeout = 0.1
        with pytest.raises(ConnectTimeout, match="another thread"):
            client.connect()
        script.release()
        calling.join()
        client.ping(timeout=5.0)


# -- Threads, forks, interrupts.


def test_threads_share_a_client(server: LoopbackServer) -> None:
    receipts: Dict[str, Receipt] = {}

    def work(number: int) -> None:
        for part in range(25):
            text = f"{number} {part}"
            receipts[text] = client.send_message("sip:a", text)
        for result in client.send_messages(
            [MessageSend("sip:a", f"{number} bulk {part}") for part in range(25)], window=4
        ):
            assert result.receipt is not None and isinstance(result.message, MessageSend)
            receipts[result.message.text] = result.receipt

    with client_of(server.port) as client:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    ids = {message.text: message.action_id for message in server.messages}
    assert len(ids) == len(server.messages) == len(receipts) == 300
    assert {text: receipt.action_id for text, receipt in receipts.items()} == ids


@pytest.mark.parametrize("tls", [False, SERVER_PEM], ids=["plain", "tls"])
@pytest.mark.parametrize("opening", [False, True], ids=["call", "opening"])
def test_closing_ends_what_another_thread_does(opening: bool, tls: Union[bool, str]) -> None:
    steps, kind = ((), SendFailed) if opening else ((log_in,), ConnectionLost)
    with Script(*steps, read_until_eof, tls=bool(tls) and not opening) as script:
        client = client_of(script.port, 5.0, tls=tls)
        call: Callable[[], None] = client.connect
        if not opening:
            client.connect()
            call = partial(client.ping, timeout=None)
        ended = threading.Event()

        def run() -> None:
            with pytest.raises(kind, match="the client was closed"):
                call()
            ended.set()

        thread = start_thread(run)
        time.sleep(0.1)
        start = time.monotonic()
        client.close()
        thread.join()
        assert time.monotonic() - start < 1.0
        assert ended.is_set() and not client.connected


_FORK = """\
import os, sys, threading, warnings
sys.path.insert(0, sys.argv[1])
from amiclient import Client, MessageSend, NotConnected
from amiclient.deadline import Deadline
client = Client(port=int(sys.argv[2]), username="loopback", secret="loopback", timeout=5.0)
client.connect()
client.send_message("sip:a", "parent 1")
results = client.send_messages(MessageSend("sip:a", f"bulk {n}") for n in range(6))
first = next(results)
assert first.outcome == "accepted"
# Another thread is in a call when the process forks.
held, go = threading.Event(), threading.Event()
def hold():
    def work():
        held.set()
        go.wait()
    client._state().run_locked(work, Deadline(None))
thread = threading.Thread(target=hold)
thread.start()
held.wait()
warnings.simplefilter("ignore")  # for the threads; this is what is being tried
child = os.fork()
warnings.simplefilter("error")
if not child:
    try:
        assert not client.connected
        for call in (client.ping, client.logoff, lambda: client.send_message("sip:a", "child")):
            try:
                call()
            except NotConnected as error:
                assert error.outcome == "not_sent"
            else:
                os._exit(2)
        for result in results:
            assert result.outcome in ("accepted", "unknown", "not_sent"), result
        with client:
            client.send_message("sip:a", "of the child")
        os._exit(0)
    except BaseException as error:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
go.set()
thread.join()
assert os.waitpid(child, 0)[1] == 0
client.send_message("sip:a", "parent 2")
assert [result.outcome for result in results] == ["accepted"] * 5
client.logoff()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_child_of_a_fork_is_refused_and_its_parent_goes_on(server: LoopbackServer) -> None:
    command = [sys.executable, "-W", "error", "-bb", "-c", _FORK, str(ROOT), str(server.port)]
    done = subprocess.run(command, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    texts = sorted(message.text for message in server.messages)
    assert texts == sorted(
        ["parent 1", "of the child", "parent 2", *(f"bulk {number}" for number in range(6))]
    )


def test_another_process_is_told_by_its_number(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in the child of a fork, in this process, which measures what is covered.
    with client_of(server.port) as client:
        results = client.send_messages([MessageSend("sip:a", text) for text in "abc"], window=2)
        next(results)
        own = os.getpid()
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: own + 1)
            assert not client.connected
            with pytest.raises(NotConnected, match="not open in this process"):
                client.ping()
            *_, last = results
            assert last.outcome == NOT_SENT and "(it belongs to the process" in str(last.error)
            client.close()


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("call", [Client.ping, lambda client: next(client.events())])
def test_an_interrupted_call_closes_the_connection(
    server: LoopbackServer, call: Callable[[Client], object]
) -> None:
    with Proxy(server.port) as proxy, opened(client_of(proxy.port)) as client:
        proxy.down.stall = len(proxy.down.passed)
        with alarm_handler(raise_interrupt), pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            call(client)
        assert not client.connected
        with pytest.raises(NotConnected, match=r"\(a call was interrupted\)"):
            client.ping()
        proxy.down.stall = None
        client.connect()


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_an_interrupt_while_looking_closes_the_connection() -> None:
    def handler(number: int, frame: Optional[FrameType]) -> None:
        # Python swallows what is raised in the callbacks of its own threads: not there, then.
        if frame is not None and "ami" in Path(frame.f_code.co_filename).parent.name:
            raise KeyboardInterrupt
        signal.setitimer(signal.ITIMER_REAL, 0.001)

    for _ in range(50):
        with Script(log_in, repeat_forever(send(EVENT * 500))) as script:
            with opened(client_of(script.port)) as client, alarm_handler(handler):
                time.sleep(0.02)  # there is much to look at
                signal.setitimer(signal.ITIMER_REAL, 0.01)
                with pytest.raises(KeyboardInterrupt) as caught:
                    client.ping()
                assert not client.connected
        if "check_alive" in [entry.name for entry in caught.traceback]:
            return
    raise AssertionError("no interrupt came while looking")


# -- A server that does not read.


def test_a_write_that_fails_with_nothing_to_read(server: LoopbackServer) -> None:
    # Of a server that closes then, and of one that does not: whichever is seen first, the failing
    # write or the server's end, nothing has left.
    with Script(log_in, expect_eof, hold) as script:
        for port in (server.port, script.port):
            sock = socket.create_connection(("127.0.0.1", port))
            with opened(client_over(sock)) as client:
                sock.shutdown(socket.SHUT_WR)
                with pytest.raises(SendFailed) as caught:
                    client.send_message("sip:a", "b")
                assert caught.value.outcome == NOT_SENT and not client.connected
                if port == script.port:
                    with pytest.raises(NotConnected, match=r"\(writing failed: "):
                        client.ping()


def test_an_action_that_left_in_part_closes_the_connection() -> None:
    big = Action("Status", [("X", "y" * 1000)] * 100)
    with Script(log_in, hold, read_until_eof, small_buffers=True) as script:
        with opened(client_over(small_buffer_socket(script.port))) as client:
            with pytest.raises(SendTimeout) as caught:
                client.send_action(big, timeout=0.2)
            assert caught.value.outcome == NOT_SENT
            with pytest.raises(NotConnected, match="a part of it had left"):
                client.ping()


def test_an_action_that_did_not_leave_at_all_is_taken_back() -> None:
    with Script(log_in, hold, accept_all, small_buffers=True) as script:
        with client_over(small_buffer_socket(script.port)) as client:
            unknown: List[str] = []
            for _ in range(10_000):
                with pytest.raises(AMIError) as caught:
                    client.send_action(Action("Ping"), timeout=0.001)
                assert caught.value.action_id is not None or caught.value.outcome == NOT_SENT
                if isinstance(caught.value, SendTimeout) and caught.value.action_id:
                    break
                if isinstance(caught.value, ResponseTimeout):
                    assert caught.value.action_id is not None
                    unknown.append(caught.value.action_id)
            script.release()
            if client.connected:  # it was taken back whole
                client.ping()
                assert [action["ActionID"] for action in script.actions][:-1] == unknown


def test_an_answer_before_the_action_has_left_is_no_answer() -> None:
    # A server must not make us believe that a message was refused whose rest then leaves.
    def read_a_part(peer: Peer) -> None:
        while b"ActionID" not in peer.unread:
            peer.received += peer.sock.recv(100)

    def check_that_the_rest_is_missing(peer: Peer) -> None:
        with pytest.raises(EOFError):
            peer.read()
        assert peer.unread

    big = Action("Status", [("X", "y" * 1000)] * 100)
    hasty = send(b"Response: Error\r\nMessage: too early\r\n\r\n")
    with Script(
        log_in, read_a_part, hasty, hold, check_that_the_rest_is_missing, small_buffers=True
    ) as script, opened(client_over(small_buffer_socket(script.port))) as client:
        with pytest.raises(SendFailed) as caught:
            client.send_action(big)
        assert caught.value.outcome == NOT_SENT
        script.release()


# -- Secrets.


def test_the_secret_is_nowhere_to_be_seen(caplog: pytest.LogCaptureFixture) -> None:
    secret = "t0p s3cret"
    seen: List[str] = []

    def hear(error: BaseException) -> None:
        import traceback

        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        seen.extend((text, repr(error), repr(vars(error))))

    caplog.set_level(logging.DEBUG)
    with LoopbackServer(users={"me": secret}) as server:
        for mechanism in ("md5", "plain"):
            client = client_of(server.port, username="me", secret=secret, mechanism=mechanism)
            seen.append(repr(client))
            with client:
                seen.extend((repr(client), repr(client._state().open_connection)))
                seen.append(repr(client.send_message("sip:a", "b")))
                with pytest.raises(ActionFailed) as refused:
                    client.send_action(Action("Nonsense", [("Secret", secret)]))
                hear(refused.value)
                reply = client.send_action(Action("Challenge", [("AuthType", "MD5")]))
                challenge = reply.response.headers["Challenge"]
            assert challenge not in caplog.text
        wrong = client_of(server.port, username="me", secret=secret + " no")
        with pytest.raises(LoginFailed) as failed:
            wrong.connect()
        hear(failed.value)
    for bad in ("t0p s3cret\r\nAction: Ping", "t0p s3cret" * 200, "t0p s3cret\udc00\ud800"):
        with pytest.raises(LocalProtocolError) as refused_here:
            Client(username="me", secret=bad)
        hear(refused_here.value)
    assert "logged in" in caplog.text and "MessageSend" in caplog.text
    for text in [caplog.text, *seen]:
        assert "t0p" not in text and "s3cret" not in text


def test_the_repr_says_whether_it_is_open(server: LoopbackServer) -> None:
    client = client_of(server.port)
    assert repr(client) == f"<Client 'loopback' at 127.0.0.1 port {server.port}, closed>"
    with client:
        assert repr(client).endswith("connected>")


def test_a_silent_end_of_a_block_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "amiclient")
    with Script(log_in, read_until_eof) as script, client_of(script.port, 0.2):
        pass
    (record,) = [record for record in caplog.records if "goodbye" in record.getMessage()]
    words = "no goodbye from the server: the action left and no answer came"
    assert record.getMessage().startswith(words)
