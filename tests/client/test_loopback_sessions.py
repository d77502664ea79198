"""Logins, events and addresses of the loopback server."""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import contextmanager
from typing import Iterator, List, Optional

import pytest

from amiclient import Action, Client, ConnectError, ConnectTimeout, Event, LoginFailed, Response
from amiclient.loopback import Delay, Disconnect, LoopbackServer, Received, no_response, refuse
from amiclient.loopback.script import HandlerResult, Step
from amiclient.loopback.versions import VERSIONS
from tests.certificates import SERVER_PEM, server_tls
from tests.command.shell import MESSAGE, environment, run_process
from tests.faults import client_of, start_thread

LOGIN = b"Action: Login\r\nUsername: loopback\r\nSecret: loopback\r\n"
CHALLENGE = b"Action: Challenge\r\nAuthType: MD5\r\n\r\n"
LOGOFF = b"Action: Logoff\r\n\r\n"
PING = b"Action: Ping\r\nActionID: ping\r\n\r\n"

ACCEPTED = b"Response: Success\r\nMessage: Authentication accepted"


@contextmanager
def connect(server: LoopbackServer) -> Iterator[socket.socket]:
    """Connect to the server and read the banner."""
    with socket.create_connection((server.host, server.port), 5.0) as sock:
        assert sock.makefile("rb", 0).readline().startswith(b"Asterisk Call Manager/")
        yield sock


def read(sock: socket.socket, count: Optional[int] = None) -> List[bytes]:
    """Return the next stanzas without their blank lines; by default all to the end of the stream.

    The end of an incomplete stanza is the last item.
    """
    data = b""
    while count is None or data.count(b"\r\n\r\n") < count:
        more = sock.recv(65536)
        if not more:
            break
        data += more
    *stanzas, rest = data.split(b"\r\n\r\n")
    return stanzas + [rest] * bool(rest)


def ask(sock: socket.socket, raw: bytes) -> List[bytes]:
    """Return the stanzas in front of the response to a Ping after some bytes."""
    sock.sendall(raw + PING)
    data = b""
    while b"Ping: Pong" not in data or not data.endswith(b"\r\n\r\n"):
        more = sock.recv(65536)
        assert more
        data += more
    return data.split(b"\r\n\r\n")[:-2]


# Scripted logins


def test_delayed_login(server: LoopbackServer) -> None:
    server.script(Delay(0.2), Delay(5.0), action="LOGIN")
    start = time.monotonic()
    with client_of(server.port) as client:
        assert time.monotonic() - start >= 0.2
        client.ping()
    with pytest.raises(ConnectTimeout):
        client_of(server.port, 0.1).connect()


@pytest.mark.parametrize("action", ["Challenge", "Login"])
def test_login_without_response(server: LoopbackServer, action: str) -> None:
    server.script(no_response, Disconnect(), Disconnect(30), action=action)
    with pytest.raises(ConnectTimeout):
        client_of(server.port, 0.1).connect()
    for _ in range(2):
        with pytest.raises(ConnectError):
            client_of(server.port).connect()
    with client_of(server.port) as client:
        client.ping()


@pytest.mark.parametrize("message", ["Login Already In Use", "Authentication failed"])
@pytest.mark.parametrize("raw", [CHALLENGE, LOGIN + b"\r\n"], ids=["challenge", "login"])
def test_refused_login_that_ends_the_connection(
    server: LoopbackServer, raw: bytes, message: str
) -> None:
    name = raw.split()[1].decode()
    server.script(refuse(message), refuse(message), action=name)
    with connect(server) as sock:
        sock.sendall(raw)
        assert read(sock) == [b"Response: Error\r\nMessage: " + message.encode()]
    with pytest.raises(LoginFailed) as caught:
        client_of(server.port).connect()
    assert caught.value.server_message == message


def test_refused_login_that_leaves_the_connection_open(server: LoopbackServer) -> None:
    for action in ("Challenge", "Login", "Logoff"):
        server.script(refuse("Asterisk is shutting down"), action=action)
    refused = b"Response: Error\r\nMessage: Asterisk is shutting down"
    with connect(server) as sock:
        for raw in (CHALLENGE, LOGIN + b"\r\n"):
            sock.sendall(raw)
            assert read(sock, 1) == [refused]
        sock.sendall(PING + LOGIN + b"Events: off\r\n\r\n")
        denied = b"Response: Error\r\nActionID: ping\r\nMessage: Permission denied"
        assert read(sock, 2) == [denied, ACCEPTED]
        assert ask(sock, LOGOFF) == [refused]
        sock.sendall(LOGOFF)
        assert read(sock) == [b"Response: Goodbye\r\nMessage: Thanks for all the fish."]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Disconnect(), []),
        (Disconnect(9), [b"Response:"]),
        (lambda action: Disconnect(12), [b"Response: Go"]),
        (Delay(0.01), [b"Response: Goodbye\r\nMessage: Thanks for all the fish."]),
        (lambda action: None, [b"Response: Goodbye\r\nMessage: Thanks for all the fish."]),
        (lambda action: [Response("Goodbye")], [b"Response: Goodbye"]),
    ],
    ids=["nothing", "part", "function", "delay", "as usual", "other text"],
)
def test_scripted_logoff(server: LoopbackServer, step: Step, expected: List[bytes]) -> None:
    server.script(step, action="Logoff")
    with connect(server) as sock:
        sock.sendall(LOGIN + b"Events: off\r\n\r\n")
        assert read(sock, 1) == [ACCEPTED]
        sock.sendall(LOGOFF)
        sock.shutdown(socket.SHUT_WR)
        assert read(sock) == expected


def test_logoff_without_response_keeps_the_connection(server: LoopbackServer) -> None:
    server.script(no_response, action="Logoff")
    with connect(server) as sock:
        assert ask(sock, LOGIN + b"Events: off\r\n\r\n" + LOGOFF) == [ACCEPTED]


def test_login_handler() -> None:
    users = []

    def handler(action: Action) -> HandlerResult:
        users.append(action.headers["Username"])
        return refuse("Login Already In Use")(action) if len(users) == 2 else None

    with LoopbackServer(handlers={"Login": handler}) as server:
        with client_of(server.port) as client:
            with pytest.raises(LoginFailed):
                client_of(server.port).connect()
            client.ping()
        assert users == ["loopback"] * 2
        assert [action.name for action in server.actions] == ["Ping", "Logoff"]


def test_actions_before_login_use_no_step(server: LoopbackServer) -> None:
    server.script(refuse("scripted"), action="Ping")
    with connect(server) as sock:
        sock.sendall(PING + LOGIN + b"Events: off\r\n\r\n" + PING)
        words = [stanza.rpartition(b": ")[2] for stanza in read(sock, 3)]
    assert words == [b"Permission denied", b"Authentication accepted", b"scripted"]


# Events

#: An event of one class, of two, and without a class.
EVENTS = [
    *[Event(name, [("Privilege", f"{name},all")]) for name in ("system", "call", "user")],
    Event("both", [("Privilege", "call,user,all")]),
    Event("plain"),
]
EVERY = [event.name for event in EVENTS]

#: Values of Events and EventMask, and the events that they admit; None for an invalid value. All
#: were compared with 16.28 and 22.10.
MASKS = [
    (b"on", EVERY), (b"YES", EVERY), (b"all", EVERY), (b"all,call", EVERY), (b"off", []),
    (b"False", []), (b"none", []), (b"", None), (b"call", ["call", "plain"]),
    (b"call,user", ["call", "user", "both", "plain"]), (b"user,", ["user", "plain"]),
    (b"user ,cdr", ["plain"]), (b"usr", []), (b"USER", []), (b"on ", []),
    (b"user\0,call", ["user", "plain"]), (b"none,user", ["user", "plain"]),
    # A name in front of a comma stands for each class that starts with it.
    (b"sys,cdr", ["system", "plain"]), (b"a,cdr", EVERY), (b",", EVERY),
    (b"systems,cdr", ["plain"]),
    # Numbers
    (b"1", ["system", "plain"]), (b"0", []), (b"66", ["call", "user", "both", "plain"]),
    (b"0064", ["user", "plain"]), (b"%d" % (2**30), ["plain"]), (b"%d" % (2**31 - 1), EVERY),
    (b"%d" % (2**31), None), (b"%d" % (2**32 - 1), None), (b"%d" % (2**32), []),
    (b"%d" % (2**32 + 2), ["call", "plain"]), (b"9" * 900, None), (b"\xb2", []),
]  # fmt: skip


def received(server: LoopbackServer, sock: socket.socket) -> List[str]:
    """Send every event, and return the names of those that arrive."""
    for event in EVENTS:
        server.send_event(event)
    return [stanza.split()[1].decode() for stanza in ask(sock, b"")]


@pytest.mark.parametrize(("value", "expected"), MASKS)
def test_event_mask(server: LoopbackServer, value: bytes, expected: Optional[List[str]]) -> None:
    names = EVERY if expected is None else expected
    with connect(server) as sock, connect(server) as other:
        stanzas = ask(sock, LOGIN + b"Events: " + value + b"\r\n\r\n")
        assert [stanza.split()[1] for stanza in stanzas[1:]] == [b"FullyBooted"] * (
            "system" in names
        )
        assert received(server, sock) == names
        # The Events action, in a session that receives only events of the class user.
        ask(other, LOGIN + b"Events: user\r\n\r\n")
        response = ask(other, b"Action: Events\r\nActionID: e\r\nEventMask: " + value + b"\r\n\r\n")
        assert response == [
            (
                b"Response: Error\r\nActionID: e\r\nMessage: Invalid event mask"
                if expected is None
                else b"Response: Success\r\nActionID: e\r\nEvents: " + (b"On" if names else b"Off")
            )
        ]
        assert received(server, other) == (["user", "plain"] if expected is None else names)


def test_events_are_on_by_default_and_need_a_login(server: LoopbackServer) -> None:
    with connect(server) as sock, connect(server) as other:
        ask(sock, LOGIN + b"\r\n")
        assert received(server, sock) == EVERY
        other.sendall(b"Action: Events\r\nEventMask: on\r\n\r\n" + LOGOFF)
        assert [stanza.rpartition(b": ")[2] for stanza in read(other)] == [
            b"Permission denied", b"Thanks for all the fish.",
        ]  # fmt: skip
        # A second login changes nothing.
        assert len(ask(sock, LOGIN + b"Events: off\r\n\r\n")) == 1
        assert received(server, sock) == EVERY


@pytest.mark.parametrize("size", [243, 244, 245, 246, 900])
def test_long_action_id_of_events(server: LoopbackServer, size: int) -> None:
    action = b"Action: Events\r\nActionID: %s\r\nEventMask: off\r\n\r\n" % (b"i" * size)
    with connect(server) as sock:
        (response,) = ask(sock, LOGIN + b"Events: off\r\n\r\n" + action)[1:]
    line = (b"ActionID: %s\r\n" % (b"i" * size))[:255]
    assert response == b"Response: Success\r\n%sEvents: Off" % line


@pytest.mark.parametrize("version", sorted(VERSIONS))
def test_fully_booted(version: int) -> None:
    with LoopbackServer(version=version) as server, connect(server) as sock:
        stanzas = ask(sock, LOGIN + b"Events: system\r\n\r\n")
    uptime = b"" if version == 11 else b"Uptime: 0\r\nLastReload: 0\r\n"
    event = b"Event: FullyBooted\r\nPrivilege: system,all\r\n%sStatus: Fully Booted" % uptime
    assert stanzas == [ACCEPTED, event]


def test_no_event_precedes_the_response_to_a_login(server: LoopbackServer) -> None:
    stop = threading.Event()

    def send_events() -> None:
        while not stop.is_set():
            server.send_event(Event("Tick"))

    thread = start_thread(send_events)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(200):
            with connect(server) as sock:
                sock.sendall(LOGIN + b"Events: call\r\n\r\n")
                assert read(sock, 1)[0] == ACCEPTED
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        thread.join()


# IPv6


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="needs ::1")
def test_ipv6() -> None:
    with LoopbackServer(host="::1") as server:
        assert server.url == f"ami://loopback:loopback@[::1]:{server.port}"
        with Client.from_url(server.url) as client:
            client.send_message("pjsip:a", "b")
        with Client(server.host, server.port, username="loopback", secret="loopback") as client:
            client.ping()
        assert run_process(*MESSAGE, env=environment(AMI_URL=server.url))[0] == 0
        with pytest.raises(ConnectError):
            client_of(server.port).connect()  # 127.0.0.1
        messages = [Received("pjsip:a", "b"), Received("pjsip:alice", "hello")]
        assert server.messages == messages
    with LoopbackServer(host="::1", tls=server_tls()) as server:
        url = f"{server.url}?cafile={SERVER_PEM}&tls_hostname=localhost"
        with Client.from_url(url) as client:
            client.ping()
