"""The client with real servers: TLS, logins, rights, lists, events, many messages, restarts."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import closing
from typing import Any, Iterator, List

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
    TLSError,
)
from amiproto import MD5, PLAIN
from tests.certificates import OTHER_PEM
from tests.faults import start_thread
from tests.live.ami import RawAMI
from tests.live.asterisk import AsteriskServer
from tests.live.delivery import require
from tests.live.phone import SipMessage
from tests.live.servers import Live
from tests.live.versions import ONE_LOGIN_OF_A_USER, OUTPUT_HEADERS

TIMEOUT = 20.0

mechanisms = pytest.mark.parametrize("mechanism", [MD5, PLAIN])

#: These make the action several times longer than the 1024 bytes that a server reads per record.
_START = '\u00e4\u00f6\u20ac\U0001f600 "quoted" (text), '
LONG_BODY = _START + "." * (900 - len(_START.encode()))
LONG_VARIABLES = {
    f"X-Long-{number}": f'{number}: "a", (b), [c], \\d, \u00e9; '.ljust(900, "v")
    for number in range(5)
}


def client_of(server: AsteriskServer, user: str = "messenger", **options: Any) -> Client:
    options.setdefault("secret", server.users[user])
    options.setdefault("timeout", TIMEOUT)
    options.setdefault("port", server.tls_port if options.get("tls") else server.port)
    return Client(server.host, username=user, **options)


def variables_of(message: SipMessage) -> List[bytes]:
    return [value for name, value in message.headers if name.startswith(b"X-")]


# ---- TLS ----


@mechanisms
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_long_message_over_tls(live: Live, mechanism: str, name: str) -> None:
    server = live.server
    message = MessageSend(live.to, LONG_BODY, variables=LONG_VARIABLES)
    assert len(message.body) == 900 and len(message.wire) > 5 * 1024
    with client_of(server, tls=server.ca_file, tls_hostname=name, mechanism=mechanism) as client:
        for _ in range(3):
            assert client.send(message).server_message == "Message successfully sent"
    for arrived in live.phone.wait_for(3):
        assert arrived.body == LONG_BODY.encode()
        for variable, value in LONG_VARIABLES.items():
            assert arrived.headers_named(variable) == [value.encode()]


def test_message_in_one_tls_record_is_not_read(live: Live) -> None:
    # This is why the client writes one record per line, and shows that the test above would fail
    # if it did not.
    server = live.server
    context = ssl.create_default_context(cafile=server.ca_file)
    message = MessageSend(live.to, LONG_BODY, variables=LONG_VARIABLES)
    with socket.create_connection((server.host, server.tls_port), TIMEOUT) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            RawAMI(connection).login(server, "messenger")
            connection.sendall(message.wire)
            connection.settimeout(0.3)
            with pytest.raises(socket.timeout):
                connection.recv(65536)
            assert live.phone.drain() == []
    # The server reads the rest when the connection ends (16.28, 22.10).
    assert live.phone.next_message().body == LONG_BODY.encode()


def test_untrusted_certificate(live: Live) -> None:
    cases: Any = [{"tls": True}, {"tls": OTHER_PEM}, {"tls_hostname": "pbx.example.org"}]
    for options in cases:
        client = client_of(live.server, **{"tls": live.server.ca_file, **options})
        with pytest.raises(TLSError) as caught:
            client.connect()
        assert caught.value.outcome == NOT_SENT
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert not client.connected


def test_wrong_port(live: Live) -> None:
    server = live.server
    with pytest.raises(TLSError):
        client_of(server, tls=server.ca_file, port=server.port).connect()
    with pytest.raises(ConnectTimeout):
        client_of(server, port=server.tls_port, timeout=0.3).connect()


# ---- logins and rights ----


@mechanisms
@pytest.mark.parametrize("user", ["messenger", "admin", "reader", "single"])
def test_login(live: Live, user: str, mechanism: str) -> None:
    server = live.server
    for secret in (server.users[user], server.users[user].encode()):
        with client_of(server, user, secret=secret, mechanism=mechanism) as client:
            client.ping()
            assert client.server_version == server.ami_version


@mechanisms
def test_wrong_secret(live: Live, mechanism: str) -> None:
    client = client_of(live.server, secret="wrong", mechanism=mechanism)
    with pytest.raises(LoginFailed) as caught:
        client.connect()
    assert caught.value.server_message == "Authentication failed"
    assert caught.value.outcome == NOT_SENT and not caught.value.retryable
    with pytest.raises(LoginFailed):
        client.ping()


@mechanisms
def test_single_login(live: Live, mechanism: str) -> None:
    require(live, ONE_LOGIN_OF_A_USER)
    first = client_of(live.server, "single", mechanism=mechanism)
    second = client_of(live.server, "single", mechanism=mechanism)
    with first:
        with pytest.raises(LoginFailed) as caught:
            second.connect()
        assert caught.value.server_message == "Login Already In Use" and caught.value.retryable
        first.send_message(live.to, "still in")
    assert live.phone.next_message().body == b"still in"
    with closing(second):
        # The server forgets a session shortly after its Goodbye; each failed login takes a second.
        for _ in range(3):
            try:
                second.connect()
                break
            except LoginFailed:
                continue
        second.ping()


def test_user_without_the_right_to_send(live: Live) -> None:
    with client_of(live.server, "reader") as client:
        with pytest.raises(ActionFailed) as caught:
            client.send_message(live.to, "x")
        assert caught.value.server_message == "Permission denied"
        assert caught.value.outcome == FAILED and not caught.value.retryable
        (result,) = client.send_messages([MessageSend(live.to, "x")])
        assert result.outcome == FAILED
        client.ping()
    assert live.phone.drain() == []


def test_failed_actions_do_not_disturb_the_session(live: Live) -> None:
    nowhere = {"pjsip": "pjsip:nosuch/sip:bob@127.0.0.1", "sip": "sip:nosuch"}
    with client_of(live.server) as client:
        for to, text in (
            ("nosuch:alice", "Message technology not found."),
            (nowhere[live.technology], "Message failed to send."),
        ):
            with pytest.raises(ActionFailed) as caught:
                client.send_message(to, "x")
            assert caught.value.server_message == text and caught.value.retryable
        with pytest.raises(ActionFailed) as caught:
            client.command("core show version")
        assert caught.value.server_message == "Permission denied"
        with pytest.raises(ActionFailed):
            client.send_action(Action("NoSuchAction"))
        client.send_message(live.to, "last")
    assert [message.body for message in live.phone.wait_for(1)] == [b"last"]


@pytest.mark.parametrize("limit", ["authlimit", "authtimeout"])
def test_authlimit_and_authtimeout(live: Live, limit: str) -> None:
    limits = "\n[general](+)\nauthlimit = 1\nauthtimeout = 1\n"
    with live.another_server({"manager.conf": limits}) as server:
        address = (server.host, server.port)
        with socket.create_connection(address, TIMEOUT) as idle, idle.makefile("rb") as stream:
            assert stream.readline().startswith(b"Asterisk Call Manager/")
            if limit == "authlimit":
                with pytest.raises(ConnectError) as caught:
                    client_of(server).connect()
            else:
                assert stream.read() == b""
                secret = server.users["messenger"]
                with pytest.raises(ConnectError) as caught:
                    Client(sock=idle, username="messenger", secret=secret).connect()
            assert caught.value.outcome == NOT_SENT
            idle.close()


# ---- actions ----


@pytest.mark.parametrize(
    "technology, query, item, names",
    [
        ("pjsip", "PJSIPShowEndpoints", "EndpointList", ["alice", "default_outbound_endpoint"]),
        ("sip", "SIPpeers", "PeerEntry", ["alice"]),
    ],
)
def test_event_lists(live: Live, technology: str, query: str, item: str, names: List[str]) -> None:
    require(live, technology)
    with client_of(live.server, "admin") as client:
        result = client.send_action(Action("CoreShowChannels"))
        assert result.events == ()
        assert result.complete is not None
        assert result.complete.name == "CoreShowChannelsComplete"

        result = client.send_action(Action(query))
        assert sorted(event.headers["ObjectName"] for event in result.events) == names
        assert {event.name for event in result.events} == {item}
        assert result.complete is not None
        assert result.complete.headers["ListItems"] == str(len(names))
        client.ping()


def test_list_is_separated_from_other_events(live: Live) -> None:
    with client_of(live.server, "admin", events="on") as client:
        call = [("Channel", "Local/wait@capture"), ("Application", "Wait"), ("Data", "5")]
        client.send_action(Action("Originate", call))
        result = client.send_action(Action("CoreShowChannels"))
        channels = [event.headers["Channel"] for event in result.events]
        assert len(channels) == 2 and {event.name for event in result.events} == {"CoreShowChannel"}
        # The other half is hung up with it.
        client.send_action(Action("Hangup", [("Channel", channels[0])]))
        names = []
        for event in client.events(timeout=5.0):
            assert isinstance(event, Event)
            names.append(event.name)
            if names.count("Hangup") == 2:
                break
    assert names.count("Newchannel") == 2
    assert "CoreShowChannel" not in names and "CoreShowChannelsComplete" not in names


def test_command(live: Live) -> None:
    with client_of(live.server, "admin") as client:
        (line,) = client.command("core show version")
        assert line.startswith(f"Asterisk {live.server.version}")
        assert len(client.command("core show applications")) > 20
        client.ping()


def test_invalid_command(live: Live) -> None:
    require(live, OUTPUT_HEADERS)
    with client_of(live.server, "admin") as client:
        with pytest.raises(ActionFailed) as caught:
            client.command("no such command")
        reason = caught.value.response.output[0]
        assert reason.startswith("No such command 'no such command'") and reason in str(
            caught.value
        )
        client.ping()


def test_events_of_another_session(live: Live) -> None:
    action = Action("UserEvent", [("UserEvent", "Test"), ("Key", "a value"), ("Key", "second")])
    with client_of(live.server, "reader", events="on") as listener:
        with client_of(live.server, "admin") as sender:
            assert sender.send_action(action).response.name == "Success"
            assert list(sender.events(timeout=0.1)) == [], "events were off"
        for event in listener.events(timeout=5.0):
            if isinstance(event, Event) and event.headers.get("UserEvent") == "Test":
                break
        else:
            pytest.fail("the event did not arrive")
        assert event.name == "UserEvent"
        assert event.headers.get_all("Key") == ["a value", "second"]
        listener.ping()


def test_event_mask_selects_a_class(live: Live) -> None:
    with client_of(live.server, "admin", events="user") as client:
        client.send_action(Action("UserEvent", [("UserEvent", "Test")]))
        # Neither FullyBooted (system) nor SuccessfulAuth (security).
        assert [getattr(event, "name", "") for event in client.events(timeout=0.2)] == ["UserEvent"]


def test_event_mask(live: Live) -> None:
    classes = "system call log verbose command agent user config dtmf reporting cdr dialplan"
    classes += " originate agi cc aoc test security message all on yes true 12 aoc,call"
    ignored = ["usr", "USER", "call ", "call ,", "usr, call", "call system", "-1"]
    with client_of(live.server, "admin") as client:

        def state_of(mask: str) -> str:
            action = Action("Events", [("EventMask", mask)])
            return client.send_action(action).response.headers["Events"]

        for mask in classes.split():
            assert client_of(live.server, events=mask) and state_of(mask) == "On", mask
        for mask in ["none", "off", "no", "false", "0"]:
            assert client_of(live.server, events=mask) and state_of(mask) == "Off", mask
        for mask in ignored:
            with pytest.raises(LocalProtocolError):
                client_of(live.server, events=mask)
            assert state_of(mask) == "Off", mask


def test_failed_originate_may_have_run(live: Live) -> None:
    dialplan = "\n[failing]\nexten = s,1,Set(GLOBAL(RAN)=yes)\n same = n,Hangup(17)\n"
    call = [("Channel", "Local/s@failing"), ("Application", "Wait"), ("Data", "1")]
    with live.another_server({"extensions.conf": dialplan}) as server:
        with client_of(server, "admin") as client:
            with pytest.raises(ActionFailed) as caught:
                client.send_action(Action("Originate", call))
            assert caught.value.server_message == "Originate failed" and not caught.value.retryable
            variable = Action("Getvar", [("Variable", "RAN")])
            assert client.send_action(variable).response.headers["Value"] == "yes"


# ---- messages that can be sent later ----


def test_server_that_is_starting(live: Live) -> None:
    # Without these, chan_sip takes less than a millisecond to load.
    peers = [f"[{number}]\ntype = peer\nhost = 127.0.0.1\n" for number in range(5000)]
    server = live.another_server({"sip.conf": "\n" + "".join(peers)})
    errors: List[AMIError] = []

    def send() -> None:
        while True:
            try:
                client.send_message(live.to, "at last")
                return
            except AMIError as error:
                errors.append(error)
            time.sleep(0.005)

    with closing(client_of(server)) as client:
        thread = start_thread(send)
        with server:
            thread.join(TIMEOUT)
            assert not thread.is_alive()
    assert {type(error) for error in errors} == {ConnectError, ActionFailed}
    assert all(error.retryable for error in errors)
    messages = {error.server_message for error in errors if isinstance(error, ActionFailed)}
    assert messages == {"Message technology not found."}
    assert [message.body for message in live.phone.wait_for(1)] == [b"at last"]


#: Configuration of an endpoint that has no contact before it registers.
_BOB = {
    "pjsip.conf": """
[bob]
type = endpoint
transport = udp
context = phones
disallow = all
allow = ulaw
aors = bob

[bob]
type = aor
max_contacts = 1
""",
    "sip.conf": "\n[bob]\ntype = peer\nhost = dynamic\n",
    "modules.conf": "load = res_pjsip_registrar.so\n",
}


def test_endpoint_that_registers_later(live: Live, technology: str) -> None:
    with live.another_server(_BOB) as server, client_of(server) as client:
        port = getattr(server.ports, technology)
        with pytest.raises(ActionFailed) as caught:
            client.send_message(f"{technology}:bob", "x")
        assert caught.value.server_message == "Message failed to send." and caught.value.retryable
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((server.host, port))
            sock.settimeout(TIMEOUT)
            lines = [
                f"REGISTER sip:127.0.0.1:{port} SIP/2.0",
                f"Via: SIP/2.0/UDP 127.0.0.1:{sock.getsockname()[1]};branch=z9hG4bK1",
                "From: <sip:bob@127.0.0.1>;tag=1",
                "To: <sip:bob@127.0.0.1>",
                "Call-ID: 1",
                "CSeq: 1 REGISTER",
                "Max-Forwards: 70",
                f"Contact: <sip:bob@127.0.0.1:{live.phone.port}>",
                "Content-Length: 0",
            ]
            sock.send("\r\n".join([*lines, "", ""]).encode())
            assert sock.recv(65536).startswith(b"SIP/2.0 200 ")
        client.send_message(f"{technology}:bob", "after")
    assert live.phone.next_message().body == b"after"


# ---- many messages ----


@pytest.mark.parametrize("tls, count", [(False, 500), (True, 100)], ids=["plain", "tls"])
def test_many_messages_arrive_in_order(live: Live, tls: bool, count: int) -> None:
    bodies = [f"message {number}\n{'.' * (number % 300)}" for number in range(count)]
    variables = LONG_VARIABLES if tls else {}
    messages = ({"to": live.to, "body": body, "variables": variables} for body in bodies)
    with client_of(live.server, tls=live.server.ca_file if tls else False) as client:
        results = list(client.send_messages(messages, window=32))
        client.ping()
    assert [result.outcome for result in results] == [ACCEPTED] * count
    assert len({result.receipt.action_id for result in results if result.receipt}) == count
    arrived = live.phone.wait_for(count)
    assert [message.body.decode() for message in arrived] == bodies
    assert all(len(variables_of(message)) == len(variables) for message in arrived)


def test_many_messages_with_failures(live: Live) -> None:
    kinds = [live.to, "nosuch:alice", ""]
    items = [{"to": kinds[number % 3], "body": str(number)} for number in range(60)]
    with client_of(live.server) as client:
        results = list(client.send_messages(items, window=8))
    assert [result.outcome for result in results] == [ACCEPTED, FAILED, NOT_SENT] * 20
    assert isinstance(results[2].error, LocalProtocolError)
    arrived = live.phone.wait_for(20)
    assert [message.body for message in arrived] == [b"%d" % number for number in range(0, 60, 3)]


# ---- servers that stop ----


def test_server_stops_between_calls(live: Live) -> None:
    with live.another_server() as server:
        quiet = client_of(server)
        listening = client_of(server, "admin", events="on")
        secure = client_of(server, tls=server.ca_file)
        with closing(quiet), closing(listening), closing(secure):
            for client in (quiet, listening, secure):
                client.connect()
                client.ping()
            server.stop()

            # With events, the server announces the end of the stream.
            names: List[str] = []
            with pytest.raises(ConnectionLost):
                for event in listening.events(timeout=TIMEOUT):
                    names.append(getattr(event, "name", ""))
            assert names[-1] == "Shutdown"

            # Without events, the client notices the end before it sends.
            for client in (quiet, secure):
                with pytest.raises(ConnectError) as failed:
                    client.send_message(live.to, "lost")
                assert failed.value.outcome == NOT_SENT
                assert not client.connected

            server.start()
            for client in (quiet, listening, secure):
                client.send_message(live.to, "back")
    assert [message.body for message in live.phone.wait_for(3)] == [b"back"] * 3


#: An extension that answers late, so that a synchronous Originate waits for it.
SLOW = "\n[slow]\nexten = s,1,Wait(10)\n same = n,Answer()\n"


@pytest.mark.parametrize("events", ["off", "on"])
def test_server_killed_with_an_action_in_flight(live: Live, events: str) -> None:
    call = [("Channel", "Local/s@slow"), ("Application", "Wait"), ("Data", "1")]
    with live.another_server({"extensions.conf": SLOW}) as server:
        with closing(client_of(server, "admin", events=events)) as client:
            client.connect()
            killer = threading.Timer(0.3, server.kill)
            killer.start()
            with pytest.raises(ConnectionLost) as caught:
                client.send_action(Action("Originate", call))
            killer.join()
            assert caught.value.outcome == UNKNOWN
            assert caught.value.action_id is not None
            server.start()
            client.send_message(live.to, "back")
    assert live.phone.next_message().body == b"back"


def test_server_killed_during_many_messages(live: Live) -> None:
    count = 400
    with live.another_server() as server, closing(client_of(server)) as client:
        client.connect()

        def bodies() -> Iterator[MessageSend]:
            for number in range(count):
                if number == 200:
                    server.kill()
                yield MessageSend(live.to, str(number))

        results = list(client.send_messages(bodies(), window=16))
    outcomes = [result.outcome for result in results]
    accepted, unknown = outcomes.count(ACCEPTED), outcomes.count(UNKNOWN)
    assert len(outcomes) == count
    # Accepted messages come first, then those in flight, then those that were not sent.
    rest = count - accepted - unknown
    assert outcomes == [ACCEPTED] * accepted + [UNKNOWN] * unknown + [NOT_SENT] * rest
    assert 180 < accepted <= 200 and unknown <= 16
    assert all(isinstance(result.error, AMIError) for result in results[accepted:])
    arrived = [int(message.body) for message in live.phone.wait_for(accepted)]
    late = [int(message.body) for message in live.phone.drain()]
    assert arrived + late == list(range(len(arrived + late)))
    assert len(late) <= unknown, "a message with outcome not_sent was sent"
