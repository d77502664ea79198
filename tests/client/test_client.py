"""Client: sending, opening and closing, deadlines, slow servers, broken connections."""

from __future__ import annotations

import gc
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

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
    LocalProtocolError,
    LoginFailed,
    MessageSend,
    NotConnected,
    NotSent,
    OutcomeUnknown,
    Response,
    ResponseTimeout,
    SendFailed,
    SendTimeout,
    TLSError,
)
from amiclient.loopback import SECRET, LoopbackServer, refuse
from amiproto import SHUTTING_DOWN
from tests.certificates import SERVER_PEM, needs_certificates
from tests.faults import (
    Direction,
    Proxy,
    assert_no_fd_leak,
    client_of,
    client_over,
    error_within,
    opened,
    small_buffer_socket,
    start_thread,
)
from tests.readme import ROOT
from tests.script import (
    EVENT,
    Peer,
    Script,
    accept,
    accept_all,
    accepted,
    expect,
    expect_eof,
    hold,
    log_in,
    pause,
    read,
    read_until_eof,
    repeat,
    repeat_forever,
    respond,
    send,
)

# -- Sending.


def test_send_message_and_send_return_receipts(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        receipt = client.send_message("pjsip:a/sip:a@example.org", "hello, 世界")
        assert receipt.outcome == ACCEPTED
        client.send_message("pjsip:a", "")
        own_id = client.send(MessageSend("pjsip:alice", "x", action_id="mine")).action_id
        assert client.connected and client.server_version == "11.0.0"
    assert not client.connected
    message, empty, with_id = server.messages
    assert message.action_id == receipt.action_id == receipt.response.action_id
    assert (message.to, message.text, empty.text) == (
        "pjsip:a/sip:a@example.org",
        "hello, 世界",
        "",
    )
    assert own_id == with_id.action_id == "mine"


def test_wrong_argument_fails_alone() -> None:
    """Another thread's messages in flight are not affected."""
    wrong: Any = None
    calls: List[Callable[[Client], object]] = [
        lambda client: client.send_message("pjsip:a"),  # type: ignore[call-arg]
        lambda client: client.send_message("pjsip:a", wrong),
        lambda client: client.send_message("pjsip:a", "b", timeout="1"),  # type: ignore[arg-type]
        lambda client: client.send(wrong),
        lambda client: client.send(Action("Ping")),  # type: ignore[arg-type]
        lambda client: client.send({"to": "pjsip:a", "body": "b"}),  # type: ignore[arg-type]
        lambda client: client.send_action("Ping"),  # type: ignore[arg-type]
        lambda client: client.send_messages(wrong),
        lambda client: client.command(1),  # type: ignore[arg-type]
    ]
    messages = [MessageSend("pjsip:a", str(number)) for number in range(32)]
    outcomes: List[str] = []
    steps = (repeat(32, read), hold, accept_all)
    with Script(log_in, *steps) as script, client_of(script.port) as client:
        results = client.send_messages(messages)
        thread = start_thread(lambda: outcomes.extend(result.outcome for result in results))
        script.wait_for_actions(32)
        for call in calls:
            with pytest.raises(TypeError):
                call(client)
        script.release()
        thread.join()
        assert client.connected
    assert outcomes == [ACCEPTED] * 32 and len(script.peers) == 1


def test_failed_message_raises_and_session_goes_on(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        with pytest.raises(ActionFailed) as caught:
            client.send_message("smoke:signal", "x")
        assert caught.value.outcome == FAILED and caught.value.retryable
        assert caught.value.server_message == "Message technology not found."
        assert caught.value.action_id == caught.value.response.action_id
        client.send_message("pjsip:alice", "y")
    assert [message.text for message in server.messages] == ["y"]


@pytest.mark.parametrize(
    ("server_message", "retryable", "hint"),
    [
        (SHUTTING_DOWN, True, ""),
        ("Message technology not found.", True, "module"),
        ("Message failed to send.", True, "contact"),
        ("Permission denied", False, "write"),
        ("No 'To' address specified.", False, ""),
        ("Originate failed", False, ""),  # the dialplan may have run
    ],
)
def test_error_says_whether_to_retry(server_message: str, retryable: bool, hint: str) -> None:
    step = respond("Error", f"Message: {server_message}")
    with Script(log_in, repeat_forever(step)) as script, client_of(script.port) as client:
        with pytest.raises(ActionFailed) as caught:
            client.send_message("pjsip:a", "b")
        assert caught.value.server_message == server_message
        assert caught.value.outcome == FAILED and caught.value.retryable == retryable
        assert hint in str(caught.value)
        results = list(client.send_messages(MessageSend("pjsip:a", str(n)) for n in range(50)))
        assert all(result.retryable == retryable for result in results)
        assert all(result.outcome == FAILED for result in results)


def test_error_of_command_shows_its_output() -> None:
    output = "No such command 'nonsense'"
    step = respond("Error", "Message: Command output follows", f"Output: {output}", "Output: more")
    with Script(log_in, step) as script, client_of(script.port) as client:
        with pytest.raises(ActionFailed) as caught:
            client.command("nonsense")
        assert caught.value.response.output == (output, "more")
        assert output in str(caught.value) and output in caught.value.to_dict()["message"]


def test_invalid_message_is_rejected_before_sending(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        for to, body in (("pjsip:alice\r\n\r\nAction: Ping", "x"), ("pjsip:alice", "x" * 1017)):
            with pytest.raises(NotSent) as caught:
                client.send_message(to, body)
            assert isinstance(caught.value, LocalProtocolError)
        client.ping()
    assert server.messages == []


@pytest.mark.parametrize("mechanism", ["md5", "plain"])
@pytest.mark.parametrize("has_socket", [False, True])
def test_login_mechanisms(server: LoopbackServer, mechanism: str, has_socket: bool) -> None:
    with Proxy(server.port) as proxy:
        if has_socket:
            sock = socket.create_connection(("127.0.0.1", proxy.port))
            client = client_over(sock, mechanism=mechanism)
        else:
            client = client_of(proxy.port, mechanism=mechanism)
        with client:
            client.ping()
        sent = bytes(proxy.up.passed)
    assert (SECRET.encode() in sent.partition(b"Secret: ")[2]) == (mechanism == "plain")


# -- Opening and closing.


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.ping(),
        lambda client: client.send_message("pjsip:a", "b"),
        lambda client: next(client.send_messages([MessageSend("pjsip:a", "b")])).unwrap(),
        lambda client: client.send_action(Action("Status")),
    ],
)
def test_call_connects_and_reconnects_unless_closed(call: Callable[[Client], object]) -> None:
    with Script(log_in, accept) as script:
        client = client_of(script.port)
        for number in range(1, 4):
            call(client)
            assert len(script.peers) == number
            script.wait_for_end()
        client.close()
        for closed in (client, client_of(1)):
            closed.close()
            with pytest.raises(NotConnected) as caught:
                call(closed)
            assert caught.value.outcome == NOT_SENT
        for entered in (client.connect, client.__enter__):
            entered()
            call(client)
            client.close()


def test_events_connect_and_reconnect() -> None:
    with Script(log_in, send(EVENT)) as script, client_of(script.port, events="on") as client:
        for number in range(1, 4):
            events = client.events()
            assert next(events).wire == EVENT
            with pytest.raises(ConnectionLost):
                next(events)
            assert list(events) == [] and len(script.peers) == number


class _FalseAction(Action):
    def __bool__(self) -> bool:
        return False


def test_logoff_does_not_connect(server: LoopbackServer) -> None:
    client = client_of(server.port)
    with pytest.raises(NotConnected):
        client.logoff()
    with pytest.raises(NotConnected):
        client.send_action(_FalseAction("Logoff"))


def test_refused_logoff_ends_connection(server: LoopbackServer) -> None:
    server.script(refuse(SHUTTING_DOWN), action="Logoff")
    with client_of(server.port) as client:
        with pytest.raises(ActionFailed):
            client.send_action(Action("Logoff"))
        assert not client.connected
        client.ping()  # on a new connection


def test_client_reconnects(server: LoopbackServer) -> None:
    client = client_of(server.port)
    for number in range(3):
        with client:
            client.send_message("pjsip:a", str(number))
    client.connect()
    client.connect()  # closes the connection before
    client.send_message("pjsip:a", "3")
    client.logoff()
    assert not client.connected
    assert [message.text for message in server.messages] == ["0", "1", "2", "3"]


def test_exit_logs_off(server: LoopbackServer) -> None:
    with Proxy(server.port) as proxy:
        with client_of(proxy.port):
            pass
        assert b"Action: Logoff\r\n" in proxy.up.passed
        assert b"Response: Goodbye\r\n" in proxy.down.passed


def test_exit_with_error_closes_without_logoff(server: LoopbackServer) -> None:
    with Proxy(server.port) as proxy:
        with pytest.raises(ZeroDivisionError):
            with client_of(proxy.port) as client:
                1 / 0
        assert not client.connected
        assert b"Logoff" not in proxy.up.passed


@pytest.mark.slow
@pytest.mark.parametrize(("timeout", "limit"), [(0.2, 1.9), (None, 3.0)])
def test_exit_waits_two_seconds_at_most(timeout: Optional[float], limit: float) -> None:
    with Script(log_in, read_until_eof) as script:
        start = time.monotonic()
        with client_of(script.port, timeout):
            pass
        assert time.monotonic() - start < limit


def test_logoff_ends_pipelines(server: LoopbackServer) -> None:
    with opened(client_of(server.port)) as client:
        results = client.send_messages([MessageSend("pjsip:a", "x")] * 3, window=1)
        next(results)
        client.logoff()
        assert [type(result.error) for result in results] == [SendFailed] * 2
        with pytest.raises(NotConnected):
            next(client.send_messages([MessageSend("pjsip:a", "x")]))


def test_logoff_and_close_are_atomic() -> None:
    goodbye = respond("Goodbye", "Message: Thanks for all the fish.")
    errors: List[AMIError] = []
    with Script(log_in, expect("Logoff"), hold, goodbye, expect_eof) as script:
        with opened(client_of(script.port)) as client:

            def call() -> None:
                with pytest.raises(NotConnected) as caught:
                    client.ping()
                errors.append(caught.value)

            logoff = start_thread(client.logoff)
            script.wait_for_actions(1)
            ping = start_thread(call)
            time.sleep(0.05)  # until it waits for the lock
            script.release()
            logoff.join()
            ping.join()
        script.wait_for_end()
    assert len(errors) == 1


@pytest.mark.skipif(os.name != "posix", reason="needs socket descriptors")
def test_socket_may_be_standard_input(server: LoopbackServer) -> None:
    # For example in a program started by inetd.
    before = os.dup(0)
    try:
        with socket.create_connection((server.host, server.port)) as sock:
            os.dup2(sock.fileno(), 0)
        with client_over(socket.socket(fileno=0)) as client:
            client.ping()
    finally:
        os.dup2(before, 0)
        os.close(before)


def test_socket_is_closed_on_every_path(server: LoopbackServer) -> None:
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
        gc.collect()  # raises the ResourceWarning of an open socket


def test_client_is_freed_without_garbage_collector(server: LoopbackServer) -> None:
    def use(client: Client) -> None:
        with client:
            client.send_message("pjsip:a", "b")
            list(client.send_messages([MessageSend("pjsip:a", "c")] * 3))
            client.send_messages([MessageSend("pjsip:a", "d")] * 3).close()
            assert list(client.events(timeout=0)) == []

    def use_in_vain(client: Client) -> None:
        client.connect()
        with pytest.raises(AMIError):
            client.send_message("smoke:signal", "b")
        with pytest.raises(AMIError):
            client.send_message("pjsip:a", "b" * 2000)
        with pytest.raises(AMIError):
            client.ping(timeout=0)
        next(iter(client.send_messages([MessageSend("pjsip:a", "d")])))
        proxy.cut()
        time.sleep(0.02)
        client.ping()
        proxy.down.stall = 0
        with pytest.raises(AMIError):
            client.ping(timeout=0.05)
        with pytest.raises(AMIError):
            next(client.send_messages([MessageSend("pjsip:a", "d")], timeout=0.05))
        proxy.down.stall = None
        client.ping()
        client.close()

    def fail_to_log_in(client: Client) -> None:
        with pytest.raises(LoginFailed):
            client.connect()

    cases: List[Tuple[Callable[[Client], None], Dict[str, Any]]] = [
        (use, {}), (use_in_vain, {}), (fail_to_log_in, {"secret": "wrong"})
    ]  # fmt: skip

    gc.collect()
    gc.disable()
    try:
        with Proxy(server.port) as proxy:
            for function, options in cases:
                client = client_of(proxy.port, **options)
                function(client)
                reference = weakref.ref(client)
                del client
                assert reference() is None, function
    finally:
        gc.enable()


def test_repr_shows_state(server: LoopbackServer) -> None:
    client = client_of(server.port)
    assert repr(client) == f"<Client 'loopback' at 127.0.0.1 port {server.port}, closed>"
    with client:
        assert repr(client).endswith("connected>")
    with pytest.raises(ValueError) as caught:
        Client(username="", secret="s")
    # Error reports show the variables of each frame.
    assert "Client" in repr(caught.traceback[-2].frame.f_locals["self"])


# -- Deadlines.


@pytest.mark.parametrize(
    "call",
    [
        lambda client, timeout: client.ping(timeout=timeout),
        lambda client, timeout: client.send_message("pjsip:a", "b", timeout=timeout),
        lambda client, timeout: client.send(MessageSend("pjsip:a", "b"), timeout=timeout),
        lambda client, timeout: client.send_action(Action("Status"), timeout=timeout),
        lambda client, timeout: client.command("core show version", timeout=timeout),
        lambda client, timeout: client.ping(),
    ],
)
def test_call_ends_by_its_own_timeout(call: Callable[[Client, float], object]) -> None:
    with Script(log_in, read_until_eof) as script, opened(client_of(script.port, 0.2)) as client:
        error = error_within(0.2, lambda: call(client, 0.2))
        assert type(error) is ResponseTimeout
        assert not client.connected


def test_no_timeout_waits() -> None:
    with Script(log_in, repeat(3, read, pause(0.15), accept)) as script:
        with client_of(script.port, 0.05) as client:
            for timeout in (None, float("inf"), 10**400):
                client.ping(timeout=timeout)


@needs_certificates
def test_zero_timeout_sends_nothing(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        with pytest.raises(SendTimeout) as caught:
            client.send_message("pjsip:a", "b", timeout=0)
        assert caught.value.outcome == NOT_SENT
        client.ping()
    assert server.messages == []
    for tls in (False, SERVER_PEM):
        with pytest.raises(ConnectTimeout):
            client_of(server.port, 0, tls=tls).connect()


def test_slow_server_does_not_extend_deadline(server: LoopbackServer) -> None:
    with Proxy(server.port) as proxy, client_of(proxy.port) as client:
        client.ping()
        proxy.down.size, proxy.down.pause = 1, 0.02
        with pytest.raises(ResponseTimeout) as caught:
            client.ping(timeout=0.3)
        assert caught.value.outcome == UNKNOWN and not client.connected
        error = error_within(0.3, lambda: client.ping(timeout=0.3))  # during the login
        assert type(error) is ConnectTimeout and error.outcome == NOT_SENT
        proxy.down.size, proxy.down.pause = 1 << 20, 0.0
        client.ping()


@pytest.mark.parametrize(
    ("noise", "tls"),
    [
        (b"\r\n" * 5000, False),
        pytest.param(EVENT * 50_000, False, marks=pytest.mark.slow),
        pytest.param(EVENT * 50_000, SERVER_PEM, marks=pytest.mark.slow),
    ],
    ids=["blank lines", "events", "events over TLS"],
)
def test_endless_flood_does_not_extend_deadline(noise: bytes, tls: Union[bool, str]) -> None:
    with Script(log_in, read, repeat_forever(send(noise)), tls=bool(tls)) as script:
        with opened(client_of(script.port, tls=tls)) as client:
            for _ in range(2):  # the second call finds the flood when it starts
                error = error_within(0.4, lambda: client.ping(timeout=0.4))
                assert type(error) in (ResponseTimeout, SendTimeout)


def test_event_flood_until_deadline_sends_nothing() -> None:
    with Script(log_in, repeat_forever(send(EVENT * 5000))) as script:
        with opened(client_of(script.port, max_events=10)) as client:
            time.sleep(0.1)
            for _ in range(100):
                with pytest.raises(AMIError) as caught:
                    client.ping(timeout=0.003)
                if isinstance(caught.value, SendTimeout):
                    break
            assert caught.value.outcome == NOT_SENT


@pytest.mark.slow
def test_endless_flood_does_not_prevent_sending() -> None:
    # With a long timeout, the limit of reads before a write applies.
    def flood(peer: Peer) -> None:  # faster than the client reads, from its own thread
        lock = threading.Lock()

        def write() -> None:
            try:
                while True:
                    with lock:
                        peer.send(EVENT * 10_000)
            except OSError:
                pass  # the client has disconnected

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
            for _ in range(2):
                client.send_message("pjsip:a", "b")


# -- Responses.


@pytest.mark.parametrize("size", [1, 7, 61])
def test_responses_split_anywhere(server: LoopbackServer, size: int) -> None:
    with Proxy(server.port, down=Direction(size=size)) as proxy, client_of(proxy.port) as client:
        for number in range(5):
            client.send_message("pjsip:a", str(number))
        with pytest.raises(ActionFailed):
            client.send_message("no:a", "b")
    assert [message.text for message in server.messages] == list("01234")


@pytest.mark.parametrize("with_id", [True, False])
def test_late_response_is_dropped(with_id: bool) -> None:
    """A message may be in flight without a caller if send_messages() is left early."""
    late = respond("Error", "Message: late", with_id=with_id)
    mine = respond("Success", "Message: mine", with_id=with_id)
    with Script(log_in, accept, read, hold, late, mine, read_until_eof) as script:
        with opened(client_of(script.port)) as client:
            results = client.send_messages([MessageSend("pjsip:a", text) for text in "12"])
            next(results)
            results.close()
            script.wait_for_actions(2)
            script.release()
            receipt = client.send_message("pjsip:a", "3")
            assert (receipt.outcome, receipt.server_message) == (ACCEPTED, "mine")
            assert list(client.events(timeout=0)) == []
            objects = [one for one in gc.get_objects() if type(one) is Response]
            assert "late" not in [response.message for response in objects]


def test_text_of_a_response_is_quoted_in_errors_and_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    text = "\x1b[31mX\nforged" + "x" * 1000
    with Script(log_in, respond(text), respond("Error", f"Message: {text}")) as script:
        with client_of(script.port) as client:
            with pytest.raises(OutcomeUnknown) as unknown:
                client.send_message("pjsip:a", "b")
            with pytest.raises(ActionFailed) as failed:
                client.send_message("pjsip:a", "b")
    logged = [record.getMessage() for record in caplog.records]
    assert all(shown.isprintable() for shown in (str(failed.value), str(unknown.value), *logged))
    assert max(map(len, (str(unknown.value), *logged))) < 300


@pytest.mark.parametrize("name", ["Goodbye", "Perhaps"])
def test_unexpected_response_means_outcome_unknown(name: str) -> None:
    with Script(log_in, repeat(2, respond(name, with_id=False))) as script:
        with client_of(script.port, 1.0) as client:
            with pytest.raises(OutcomeUnknown) as caught:
                client.send_message("pjsip:a", "b")
            assert caught.value.outcome == UNKNOWN
            if name == "Goodbye":
                with pytest.raises(OutcomeUnknown):
                    client.ping()


@pytest.mark.parametrize(
    "data",
    [b"Response: Success\r\nX: " + b"x" * 70_000, b"Response: Success\r\n" + b"X: y\r\n" * 800_000],
    ids=["line", "stanza"],
)
def test_response_over_limits_ends_connection(data: bytes) -> None:
    steps = (read, send(data), read_until_eof)
    with Script(log_in, *steps) as script, client_of(script.port) as client:
        with pytest.raises(ConnectionLost) as caught:
            client.send_message("pjsip:a", "b")
        assert caught.value.outcome == UNKNOWN
        assert not client.connected


# -- Broken connections.


def test_shutdown_during_call() -> None:
    shutdown = send(b"Event: Shutdown\r\nShutdown: Cleanly\r\nRestart: False\r\n\r\n")
    with Script(log_in, read, shutdown) as script, client_of(script.port, events="on") as client:
        with pytest.raises(ConnectionLost) as caught:
            client.send_message("pjsip:a", "b")
        assert caught.value.outcome == UNKNOWN
        event = next(client.events())  # events before the end can still be read
        assert isinstance(event, Event) and event.name == "Shutdown"
        with pytest.raises(ConnectionLost):
            client.ping()  # on a new connection


def test_partly_sent_action_closes_connection() -> None:
    big = Action("Status", [("X", "y" * 1000)] * 100)
    with Script(log_in, hold, read_until_eof, small_buffers=True) as script:
        with opened(client_over(small_buffer_socket(script.port))) as client:
            with pytest.raises(SendTimeout) as caught:
                client.send_action(big, timeout=0.2)
            assert caught.value.outcome == NOT_SENT and not client.connected


def test_response_to_partly_sent_action_is_an_error() -> None:
    # Otherwise a server could report the failure of a message and receive the rest afterwards.
    def read_part(peer: Peer) -> None:
        while b"ActionID" not in peer.unread:
            peer.received += peer.sock.recv(100)

    def check_rest_is_missing(peer: Peer) -> None:
        with pytest.raises(EOFError):
            peer.read()
        assert peer.unread

    big = Action("Status", [("X", "y" * 1000)] * 100)
    early = send(b"Response: Error\r\nMessage: too early\r\n\r\n")
    steps = (read_part, early, hold, check_rest_is_missing)
    with Script(log_in, *steps, small_buffers=True) as script:
        with opened(client_over(small_buffer_socket(script.port))) as client:
            with pytest.raises(SendFailed) as caught:
                client.send_action(big)
            assert caught.value.outcome == NOT_SENT
            script.release()


# -- Threads and processes.


def test_call_of_other_thread_may_use_up_the_time() -> None:
    with Script(log_in, read, hold, accept_all) as script, client_of(script.port) as client:
        calling = start_thread(client.ping)
        script.wait_for_actions(1)
        error = error_within(0.2, lambda: client.ping(timeout=0.2))
        assert type(error) is SendTimeout and error.action_id is None
        (result,) = client.send_messages([MessageSend("pjsip:a", "b")], timeout=0.1)
        assert type(result.error) is SendTimeout and client.connected
        client.timeout = 0.1
        with pytest.raises(ConnectTimeout):
            client.connect()
        script.release()
        calling.join()
        client.ping(timeout=5.0)


@needs_certificates
@pytest.mark.parametrize("tls", [False, SERVER_PEM], ids=["plain", "tls"])
@pytest.mark.parametrize("connecting", [False, True], ids=["call", "connect"])
def test_close_ends_call_of_other_thread(connecting: bool, tls: Union[bool, str]) -> None:
    steps, kind = ((), ConnectError) if connecting else ((log_in,), ConnectionLost)
    with Script(*steps, read_until_eof, tls=bool(tls) and not connecting) as script:
        client = client_of(script.port, 5.0, tls=tls)
        call: Callable[[], None] = client.connect
        if not connecting:
            client.connect()
            call = partial(client.ping, timeout=None)
        ended = threading.Event()

        def run() -> None:
            with pytest.raises(kind):
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
import os, sys
sys.path.insert(0, sys.argv[1])
from amiclient import Client, MessageSend, NotConnected
client = Client(port=int(sys.argv[2]), username="loopback", secret="loopback", timeout=5.0)
client.connect()
client.send_message("pjsip:a", "parent 1")
results = client.send_messages(MessageSend("pjsip:a", f"bulk {n}") for n in range(6))
first = next(results)
assert first.outcome == "accepted"
child = os.fork()
if not child:
    try:
        assert not client.connected
        try:
            client.logoff()
        except NotConnected as error:
            assert error.outcome == "not_sent"
        else:
            os._exit(2)
        for result in results:
            assert result.outcome in ("accepted", "unknown", "not_sent"), result
        with client:
            client.send_message("pjsip:a", "of the child")
        os._exit(0)
    except BaseException as error:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
assert os.waitpid(child, 0)[1] == 0
client.send_message("pjsip:a", "parent 2")
assert [result.outcome for result in results] == ["accepted"] * 5
client.logoff()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_forked_child_has_its_own_connection(server: LoopbackServer) -> None:
    command = [sys.executable, "-W", "error", "-bb", "-c", _FORK, str(ROOT), str(server.port)]
    done = subprocess.run(command, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    texts = sorted(message.text for message in server.messages)
    assert texts == sorted(
        ["parent 1", "of the child", "parent 2", *(f"bulk {number}" for number in range(6))]
    )


def test_process_is_recognized_by_its_id(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Like the child of a fork, but in this process, where coverage is measured.
    with client_of(server.port) as client:
        results = client.send_messages([MessageSend("pjsip:a", text) for text in "abc"], window=2)
        next(results)
        own = os.getpid()
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: own + 1)
            assert not client.connected
            client.ping()
            *_, last = results
            assert last.outcome == NOT_SENT
            client.close()


def test_threads_of_new_process_share_one_lock(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = []
    with opened(client_of(server.port)) as client:
        own = os.getpid()
        for number in range(1, 40):
            monkeypatch.setattr(os, "getpid", lambda: own + number)
            states: List[object] = []
            start = threading.Barrier(4)

            def find() -> None:
                start.wait()
                states.append(client._state())

            threads = [start_thread(find) for _ in range(4)]
            for thread in threads:
                thread.join()
            assert len({id(state) for state in states}) == 1
            references.append(weakref.ref(states.pop()))
        client.connect()  # drops the states of all other processes
        states.clear()
        assert [reference() for reference in references[:-1]] == [None] * 38
