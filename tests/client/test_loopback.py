"""The loopback server, on which tests of users depend."""

from __future__ import annotations

import os
import pickle
import runpy
import signal
import socket
import ssl
import struct
import sys
import textwrap
import threading
import time
from hashlib import md5
from typing import Any, List

import pytest

from amiclient import (
    Action,
    ActionFailed,
    Client,
    ConnectionLost,
    Event,
    LoginFailed,
    Response,
    ResponseTimeout,
    loopback,
)
from amiclient.loopback import SECRET, USERNAME, Delay, Disconnect, LoopbackServer, Received
from amiclient.loopback import __main__ as program
from amiclient.loopback import no_response, refuse
from amiclient.loopback.script import HandlerResult
from tests.certificates import SERVER_PEM, server_tls
from tests.command.shell import Screen
from tests.faults import client_of, count_open_fds, opened, start_thread
from tests.readme import run


def _talk(server: LoopbackServer, *parts: bytes, expect: int) -> List[bytes]:
    """Send raw bytes and return the expected number of responses, without the banner."""
    with socket.create_connection((server.host, server.port), 5.0) as sock:
        for part in parts:
            sock.sendall(part)
        data = b""
        while data.count(b"\r\n\r\n") < expect:
            more = sock.recv(65536)
            if not more:
                break
            data += more
    banner, _, rest = data.partition(b"\r\n")
    assert banner == b"Asterisk Call Manager/11.0.0"
    return rest.split(b"\r\n\r\n")[:-1]


_LOGIN = b"Action: Login\r\nUsername: loopback\r\nSecret: loopback\r\nEvents: off\r\n\r\n"


def _read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def test_examples_of_the_manual() -> None:
    code = (loopback.__doc__ or "").partition("::\n\n")[2].partition("\nThe user is")[0]
    names = run(textwrap.dedent(code))
    for name in ("test_success", "test_failures"):
        with LoopbackServer() as server:
            names[name](server)


def test_server_can_be_reopened_on_the_same_port() -> None:
    before = count_open_fds()
    server = LoopbackServer()
    server.close()
    ports = set()
    for number in range(3):
        with server as same:
            assert same is server and server.port and server.host == "127.0.0.1"
            with client_of(server.port) as client:
                client.send_message("pjsip:a", str(number))
        ports.add(server.port)
    assert len(ports) == 1
    assert [message.text for message in server.messages] == ["0", "1", "2"]
    assert count_open_fds() == before


def test_close_with_connected_clients() -> None:
    with LoopbackServer() as server:
        clients = [client_of(server.port) for _ in range(5)]
        for client in clients:
            client.connect()
        silent = socket.create_connection((server.host, server.port))
    for client in clients:
        client.close()
    silent.close()


def test_close_during_a_tls_handshake() -> None:
    with LoopbackServer(tls=server_tls()) as server:
        silent = socket.create_connection((server.host, server.port))
        time.sleep(0.05)
        start = time.monotonic()
    assert time.monotonic() - start < 5.0
    silent.close()


def test_close_while_clients_connect() -> None:
    threads = set(threading.enumerate())
    for _ in range(5):
        with LoopbackServer() as server:
            port = server.port
            stop = threading.Event()

            def connect_repeatedly() -> None:
                while not stop.is_set():
                    try:
                        socket.create_connection(("127.0.0.1", port), 0.2).close()
                    except OSError:
                        pass

            thread = start_thread(connect_repeatedly)
            time.sleep(0.005)
        stop.set()
        thread.join()
        assert set(threading.enumerate()) <= threads


def test_connection_accepted_during_close_is_not_served() -> None:
    accepted = threading.Event()

    class SlowTLS(ssl.SSLContext):
        def wrap_socket(self, sock: socket.socket, *args: Any, **options: Any) -> Any:
            accepted.set()
            while True:  # until close() has closed the listener
                try:
                    socket.create_server((server.host, server.port)).close()
                    return sock
                except OSError:
                    time.sleep(0.01)

    with LoopbackServer(tls=SlowTLS(ssl.PROTOCOL_TLS_SERVER)) as server:
        sock = socket.create_connection((server.host, server.port), 5.0)
        assert accepted.wait(5.0)
    with sock:
        assert sock.recv(1) == b""


def test_custom_users() -> None:
    with LoopbackServer(users={"Ann": "s", "bob": "t"}) as server:
        for name, secret in (("Ann", "s"), ("bob", "t"), ("BOB", "t")):
            with Client(port=server.port, username=name, secret=secret) as client:
                client.ping()
        for name, secret in (("Ann", "t"), ("eve", "s"), (USERNAME, SECRET)):
            for mechanism in ("md5", "plain"):
                with pytest.raises(LoginFailed):
                    Client(
                        port=server.port, username=name, secret=secret, mechanism=mechanism
                    ).connect()


def test_custom_technologies() -> None:
    with LoopbackServer(technologies=["fax"]) as server, client_of(server.port) as client:
        client.send_message("fax:a@example.org:5070", "b")
        with pytest.raises(ActionFailed) as caught:
            client.send_message("pjsip:a", "b")
        assert caught.value.server_message == "Message technology not found."
        assert [message.to for message in server.messages] == ["fax:a@example.org:5070"]


def test_messages_to_unreachable_addresses_fail() -> None:
    with LoopbackServer(unreachable=["pjsip:bob"]) as server, client_of(server.port) as client:
        for to, destination in (
            ("pjsip:bob", None), ("pjsip:bob/sip:b@e.org", None), ("sip:alice@e.org", "pjsip:bob")
        ):  # fmt: skip
            with pytest.raises(ActionFailed) as caught:
                client.send_message(to, "b", destination=destination)
            assert caught.value.server_message == "Message failed to send."
        assert server.messages == []
        for to in ("pjsip:bobby", "pjsip:alice"):
            client.send_message(to, "b")
        server.unreachable.clear()
        client.send_message("pjsip:bob", "b")
        assert [message.to for message in server.messages] == [
            "pjsip:bobby", "pjsip:alice", "pjsip:bob"
        ]  # fmt: skip


def test_keep_limits_messages() -> None:
    with LoopbackServer(keep=2) as server, client_of(server.port) as client:
        for number in range(5):
            client.send_message("pjsip:a", str(number))
        assert [message.text for message in server.messages] == ["3", "4"]
    with LoopbackServer(keep=0) as server, client_of(server.port) as client:
        client.send_message("pjsip:a", "b")
        assert server.messages == []


def test_tls_client_and_plain_client() -> None:
    with LoopbackServer(tls=server_tls()) as server:
        with client_of(server.port, tls=SERVER_PEM) as client:
            client.send_message("pjsip:a", "b")
            with socket.create_connection((server.host, server.port)) as sock:
                sock.sendall(b"Action: Ping\r\n\r\n")
                sock.settimeout(5.0)
                try:
                    while sock.recv(1000):
                        pass
                except ConnectionResetError:
                    pass
            client.ping()


def test_handlers() -> None:
    def handler(action: Action) -> HandlerResult:
        if action.headers["To"] == "pjsip:c":
            return [Response("Error", [("Message", "not today")], action_id=action.action_id)]
        return None if action.headers["To"] == "pjsip:a" else Disconnect(5)

    with LoopbackServer(handlers={"messagesend": handler, "Ping": refuse("no")}) as server:
        with client_of(server.port) as client:
            client.send_message("pjsip:a", "b")
            for call, text in (
                (client.ping, "no"),
                (lambda: client.send_message("pjsip:c", "b"), "not today"),
                (lambda: client.send_action(Action("Other")), "Invalid/unknown command: Other."),
            ):
                with pytest.raises(ActionFailed) as caught:
                    call()
                assert caught.value.server_message.startswith(text)
            with pytest.raises(ConnectionLost):
                client.send_message("pjsip:b", "b")
        assert [message.to for message in server.messages] == ["pjsip:a", "pjsip:b"]
        assert [action.name for action in server.actions] == [
            "MessageSend", "Ping", "MessageSend", "Other", "MessageSend",
        ]  # fmt: skip


def test_script_steps_are_used_in_order() -> None:
    with LoopbackServer(handlers={"MessageSend": refuse("later")}) as server:
        server.script(refuse("not now"), Delay(0.2), no_response)
        server.script(Disconnect(), action="ping")
        client = client_of(server.port)
        client.connect()
        with pytest.raises(ActionFailed, match="not now"):
            client.send_message("pjsip:a", "1")
        start = time.monotonic()
        client.send_message("pjsip:a", "2")
        assert time.monotonic() - start >= 0.2
        with pytest.raises(ResponseTimeout):
            client.send_message("pjsip:a", "3", timeout=0.1)
        with pytest.raises(ActionFailed, match="later"):
            client.send_message("pjsip:a", "4")
        with pytest.raises(ConnectionLost):
            client.ping()
        client.connect()
        client.ping()
        client.close()
        assert server.messages == [Received("pjsip:a", "2")]
        assert len(server.actions) == 6


def test_disconnect_within_a_response() -> None:
    whole = b"Response: Success\r\nActionID: x\r\nMessage: Message successfully sent\r\n\r\n"
    send = b"Action: MessageSend\r\nActionID: x\r\nTo: pjsip:a\r\nBody: b\r\n\r\n"
    with LoopbackServer() as server:
        for after in range(0, len(whole) + 1, 7):
            server.script(Disconnect(after))
            with socket.create_connection((server.host, server.port), 5.0) as sock:
                sock.sendall(_LOGIN + send)
                data = _read_all(sock)
            assert data.partition(b"accepted\r\n\r\n")[2] == whole[:after]


def test_refuse_responds_like_asterisk() -> None:
    send = b"Action: MessageSend\r\nActionID: x\r\nTo: pjsip:a\r\nBody: b\r\n\r\n"
    with LoopbackServer() as server:
        server.script(refuse(), refuse("no"))
        responses = _talk(server, _LOGIN, send, send, expect=3)[1:]
    assert responses == [
        b"Response: Error\r\nActionID: x\r\nMessage: %s" % words
        for words in (b"Message failed to send.", b"no")
    ]


def test_close_ends_a_delay() -> None:
    start = time.monotonic()
    with LoopbackServer() as server, opened(client_of(server.port)) as client:
        server.script(Delay(60.0))
        with pytest.raises(ResponseTimeout):
            client.send_message("pjsip:a", "b", timeout=0.05)
    assert time.monotonic() - start < 10.0


def test_received_messages_are_compared_without_action_id() -> None:
    with LoopbackServer() as server, client_of(server.port) as client:
        client.send_message("pjsip:a", "x\n", "D <sip:d@e.org>", {"X-A": "b"}, "pjsip:a")
    (message,) = server.messages
    assert message == Received(
        "pjsip:a", "x\n", "D <sip:d@e.org>", (("X-A", "b"),), "pjsip:a", action_id="another"
    )
    assert message != Received("pjsip:a", "x")
    assert repr(message).startswith("Received(to='pjsip:a', body=b'x\\n', from_='D <sip:d@e.org>'")
    assert str(message).splitlines() == [
        "  To: pjsip:a", "  From: D <sip:d@e.org>", "  Destination: pjsip:a", "  Variable: X-A=b",
        "  Body: 'x\\n'",
    ]  # fmt: skip
    assert pickle.loads(pickle.dumps(message)) == message
    assert message.text == "x\n" and message.wire.startswith(b"Action: MessageSend")
    assert Received("pjsip:a", b"\xff") == Received("pjsip:a", "\udcff")


def test_url() -> None:
    with LoopbackServer(users={"a@b": "c:d/e"}) as server:
        assert server.url == f"ami://a%40b:c%3Ad%2Fe@127.0.0.1:{server.port}"
    assert LoopbackServer(tls=server_tls(), port=7).url == "amis://loopback:loopback@127.0.0.1:7"


def test_program_reports_a_port_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert program.main(["--port", str(port)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and str(port) in err


@pytest.mark.parametrize("signum, asks_for_port", [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_program_prints_actions_until_a_signal(
    monkeypatch: pytest.MonkeyPatch, signum: signal.Signals, asks_for_port: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    out, ended = Screen(), threading.Event()

    def wait_for(words: str) -> None:
        deadline = time.monotonic() + 5.0
        while words not in out.seen:
            assert time.monotonic() < deadline, words
            time.sleep(0.01)

    def talk() -> None:
        try:
            wait_for("\n")
            with Client.from_url(out.seen[len("AMI_URL=") : -1]) as client:
                client.ping()
                wait_for("Ping\n")
                client.send_message("pjsip:a", "b")
                wait_for("  Body: 'b'\n")
        finally:
            if not ended.is_set():
                os.kill(os.getpid(), signum)

    monkeypatch.setattr(sys, "stdout", out)
    thread = start_thread(talk)
    try:
        assert program.main(["--port", str(port)] if asks_for_port else []) == 0
    finally:
        ended.set()
        thread.join()
    url, *printed = out.seen.splitlines()
    assert url.startswith("AMI_URL=ami://loopback:loopback@127.0.0.1:")
    assert not asks_for_port or url.endswith(f":{port}")
    assert printed == ["Ping", "MessageSend", "  To: pjsip:a", "  Body: 'b'", "Logoff"]


@pytest.mark.parametrize("option, code", [("--help", 0), ("--hel", 2)])
def test_program_usage(
    option: str, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "amiclient.loopback.__main__")
    monkeypatch.setattr(sys, "argv", ["loopback", option])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("amiclient.loopback", run_name="__main__")
    assert caught.value.code == code
    out, err = capsys.readouterr()
    assert (out + err).startswith("usage: python3 -m amiclient.loopback [-h] [--port PORT]\n")


def test_event_to_a_disconnected_client_is_ignored() -> None:
    in_handler, finish = threading.Event(), threading.Event()

    def handler(action: Action) -> None:
        in_handler.set()
        finish.wait(10.0)

    with LoopbackServer(handlers={"Ping": handler}) as server:
        with socket.create_connection((server.host, server.port), 5.0) as sock:
            sock.sendall(_LOGIN.replace(b"off", b"on") + b"Action: Ping\r\n\r\n")
            assert in_handler.wait(10.0)
            # Closes by a reset; the server's thread, in the handler, does not notice it.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.send_event(Event("Tick"))
        finish.set()


def test_actions_before_login_are_denied() -> None:
    with LoopbackServer() as server:
        responses = _talk(
            server,
            b"Action: Ping\r\nActionID: 1\r\n\r\n",
            b"Action: Challenge\r\nActionID: 2\r\n\r\n",
            b"Action: Challenge\r\nAuthType: MD5\r\n\r\n" * 2,
            _LOGIN,
            _LOGIN,
            expect=6,
        )
    assert responses[0] == b"Response: Error\r\nActionID: 1\r\nMessage: Permission denied"
    assert responses[1] == b"Response: Error\r\nActionID: 2\r\nMessage: Must specify AuthType"
    assert responses[2] == responses[3] and responses[2].startswith(
        b"Response: Success\r\nChallenge: "
    )
    assert responses[4] == b"Response: Success\r\nMessage: Authentication accepted"
    assert responses[5] == b"Response: Success\r\nMessage: Already authenticated"


@pytest.mark.parametrize(
    "login",
    [
        _LOGIN.replace(b"Secret: l", b"Secret: L"),
        b"Action: Login\r\nAuthType: MD5\r\nUsername: a\r\nKey: %s\r\n\r\n"
        % md5().hexdigest().encode(),
    ],
    ids=["secret", "no challenge"],
)
def test_failed_login_ends_the_connection(login: bytes) -> None:
    with LoopbackServer(users={USERNAME: SECRET, "a": ""}) as server:
        # Sends nothing after the login: unread data would make the server's close a reset, which
        # can overtake the response.
        responses = _talk(server, login, expect=2)
    assert responses == [b"Response: Error\r\nMessage: Authentication failed"]


def test_unclosed_server_does_not_block_exit() -> None:
    before = set(threading.enumerate())
    with LoopbackServer() as server, client_of(server.port):
        threads = set(threading.enumerate()) - before
        assert len(threads) == 2 and all(thread.daemon for thread in threads)


@pytest.mark.parametrize(
    ("random", "number"),
    [(b"\0\0\0\0", b"0"), (b"\1\2\3\4", b"16909060"), (b"\xff" * 4, b"4294967295")],
)
def test_challenge_is_a_random_32_bit_number(
    random: bytes, number: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def urandom(size: int) -> bytes:
        assert size == len(random)
        return random

    with LoopbackServer() as server, monkeypatch.context() as patch:
        patch.setattr(os, "urandom", urandom)
        (response,) = _talk(server, b"Action: Challenge\r\nAuthType: MD5\r\n\r\n", expect=1)
    assert response == b"Response: Success\r\nChallenge: " + number


def test_invalid_actions_get_the_responses_of_asterisk() -> None:
    with LoopbackServer() as server:
        responses = _talk(
            server,
            _LOGIN,
            b"\r\n",
            b"Action: MessageSend\r\nBody: b\r\n\r\n",
            b"Action: Logoff\r\n\r\nAction: Ping\r\n\r\n",
            expect=5,
        )
    assert responses[1:] == [
        b"Response: Error\r\nMessage: Missing action in request",
        b"Response: Error\r\nMessage: No 'To' address specified.",
        b"Response: Goodbye\r\nMessage: Thanks for all the fish.",
    ]


def test_incomplete_action_at_end_of_stream_is_ignored() -> None:
    with LoopbackServer() as server:
        with socket.create_connection((server.host, server.port), 10.0) as sock:
            sock.sendall(b"half an action")
            sock.shutdown(socket.SHUT_WR)
            assert _read_all(sock) == b"Asterisk Call Manager/11.0.0\r\n"
