"""The differences between the versions of Asterisk, as the loopback server imitates them."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Dict, List, Tuple

import pytest

from amiclient import ACCEPTED, Action, ActionFailed, Event, MessageSend
from amiclient.loopback import Disconnect, EventList, LoopbackServer, Output, Received, refuse
from amiclient.loopback.server import TLS_READ
from amiclient.loopback.versions import VERSIONS
from amiproto import InvalidAddress
from tests.certificates import SERVER_PEM, server_tls
from tests.faults import client_of

ALL = sorted(VERSIONS)
EACH = pytest.mark.parametrize("version", ALL)

LOGIN = b"Action: Login\r\nUsername: loopback\r\nSecret: loopback\r\nEvents: off\r\n\r\n"
PING = b"Action: Ping\r\nActionID: ping\r\n\r\n"
#: A technology that every version has.
SEND = b"Action: MessageSend\r\nTo: xmpp:a\r\n"

TOO_LONG = b"Failed to parse message: line too long"
MISSING_ACTION = b"Missing action in request"
PONG = b"Ping: Pong"

TECHNOLOGIES = (b"pjsip", b"sip", b"xmpp")

#: Seconds without a response after which a server hangs.
HANGS = 0.4


def log_in(server: LoopbackServer) -> socket.socket:
    """Return a socket that has logged in, over TLS if the server uses it."""
    sock = socket.create_connection((server.host, server.port), 10.0)
    if server.url.startswith("amis:"):
        context = ssl.create_default_context(cafile=SERVER_PEM)
        sock = context.wrap_socket(sock, server_hostname="localhost")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(LOGIN)
    read_until(sock, b"accepted\r\n\r\n")
    return sock


def read_until(sock: socket.socket, end: bytes) -> bytes:
    """Read up to and including ``end``, or to the end of the stream."""
    data = b""
    while not data.endswith(end):
        try:
            more = sock.recv(65536)
        except ConnectionResetError:  # a server that closes with unread data resets
            break
        if not more:
            break
        data += more
    return data


def responses(server: LoopbackServer, raw: bytes) -> List[bytes]:
    """Return the responses to raw bytes, without their blank lines."""
    with log_in(server) as sock:
        sock.sendall(raw + b"Action: Logoff\r\n\r\n")
        return read_until(sock, b"fish.\r\n\r\n").split(b"\r\n\r\n")[:-2]


def response_texts(server: LoopbackServer, raw: bytes) -> List[bytes]:
    """Return the last line of each response to raw bytes; in most it is the Message."""
    lines = [stanza.rpartition(b"\r\n")[2] for stanza in responses(server, raw)]
    return [line.replace(b"Message: ", b"") for line in lines]


def test_unsupported_versions_are_rejected() -> None:
    for version in (0, 13, 23, "22", "11.0.0", None):
        with pytest.raises(ValueError):
            LoopbackServer(version=version)  # type: ignore[arg-type]
    with LoopbackServer() as server, client_of(server.port) as client:
        assert client.server_version == VERSIONS[22].ami


@EACH
def test_banner(version: int) -> None:
    banners = {11: "1.3", 16: "5.0.4", 22: "11.0.0"}
    with LoopbackServer(version=version) as server, client_of(server.port) as client:
        assert client.server_version == banners[version]


# Messages


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@EACH
def test_messages_arrive_exactly(version: int, tls: bool) -> None:
    name = "sip" if version == 11 else "pjsip"
    messages = [
        MessageSend(f"{name}:alice", "one\ntwo", "Door <sip:door@example.org>", {"X-A": "(a), b"}),
        MessageSend(f"{name}:carol", "x" * 1016),
        MessageSend(f"{name}:bob", "y\n" * 378, None, {f"X-{n}": "v" * 90 for n in range(40)}),
    ]
    context = server_tls() if tls else None
    with LoopbackServer(version=version, tls=context) as server:
        mechanism = "plain" if tls else "md5"
        with client_of(server.port, tls=SERVER_PEM if tls else None, mechanism=mechanism) as client:
            for message in messages:
                assert client.send(message).outcome == ACCEPTED
            results = list(client.send_messages(messages * 5))
    assert [result.outcome for result in results] == [ACCEPTED] * 15
    assert server.messages == [Received.of(message) for message in messages] * 6


@EACH
def test_destination_is_ignored_by_11(version: int) -> None:
    raw = SEND + b"Destination: none:b\r\nBody: c\r\n\r\n"
    only = b"Action: MessageSend\r\nDestination: xmpp:b\r\nBody: c\r\n\r\n"
    with LoopbackServer(version=version) as server:
        texts = response_texts(server, raw + only)
        with client_of(server.port) as client:
            message = MessageSend("sip:a@e", "b", destination="pjsip:b")
            if version == 11:
                with pytest.raises(InvalidAddress):
                    client.send(message)
            else:
                client.send(message)
    if version == 11:
        assert texts == [b"Message successfully sent", b"No 'To' address specified."]
        assert server.messages == [Received("xmpp:a", "c")]
    else:
        assert texts == [b"Message technology not found.", b"Message successfully sent"]
        assert [message.destination for message in server.messages] == ["xmpp:b", "pjsip:b"]


@EACH
def test_technologies_of_each_version(version: int) -> None:
    known = {11: ["sip", "xmpp"], 16: ["pjsip", "sip", "xmpp"], 22: ["pjsip", "xmpp"]}
    with LoopbackServer(version=version) as server:
        sends = [b"Action: MessageSend\r\nTo: %s:a\r\n\r\n" % name for name in TECHNOLOGIES]
        texts = response_texts(server, b"".join(sends))
    assert [message.to[:-2] for message in server.messages] == known[version]
    assert texts.count(b"Message technology not found.") == len(sends) - len(known[version])


@EACH
def test_sip_drops_variables_after_the_55th(version: int) -> None:
    variables = b"".join(b"Variable: X-%d=%d\r\n" % (n, n) for n in range(60))
    with LoopbackServer(version=version, technologies=["sip", "xmpp"]) as server:
        response_texts(server, SEND + variables + b"\r\n")
        response_texts(server, SEND.replace(b"xmpp", b"sip") + variables + b"\r\n")
    for message, count in zip(server.messages, (60, 55)):
        assert [name for name, _ in message.variables] == [f"X-{n}" for n in range(count)]


@EACH
def test_technology_case_is_ignored_by_11(version: int) -> None:
    raw = b"Action: MessageSend\r\nTo: SIP:a\r\nBody: b\r\n\r\n"
    with LoopbackServer(version=version, technologies=["sip"]) as server:
        (text,) = response_texts(server, raw)
        assert response_texts(server, raw.replace(b"SIP", b"fax")) == [
            b"Message technology not found."
        ]
    expected = b"Message successfully sent" if version == 11 else b"Message technology not found."
    assert text == expected


@EACH
def test_repeated_variables(version: int) -> None:
    lines = b"Variable: X=1,x=2\r\nVariable: X=3\r\nVariable: Y=4\r\nVariable: Y=\r\n"
    with LoopbackServer(version=version) as server:
        response_texts(server, SEND + lines + b"\r\n")
    (message,) = server.messages
    assert dict(message.variables) == ({"X": "1", "Y": "4"} if version == 11 else {"X": "3"})


# Lines

#: The length of a line in the middle of an action, without CR LF, and the responses: of 16 and 22,
#: and of 11.
LINES: Dict[int, Tuple[List[bytes], List[bytes]]] = {
    1022: ([PONG], [PONG]),
    1023: ([TOO_LONG, MISSING_ACTION], [TOO_LONG, MISSING_ACTION]),
    1024: ([TOO_LONG], [TOO_LONG, MISSING_ACTION]),
    2046: ([TOO_LONG, MISSING_ACTION], [TOO_LONG]),
}


@pytest.mark.parametrize("size", LINES)
@EACH
def test_lines_over_the_limit(version: int, size: int) -> None:
    raw = b"Action: Ping\r\n" + b"X: ".ljust(size, b"x") + b"\r\nAfter: it\r\n\r\n"
    with LoopbackServer(version=version) as server:
        texts = response_texts(server, raw)
    texts = [PONG if line.startswith(b"Timestamp") else line for line in texts]
    assert texts == LINES[size][version == 11]


@EACH
def test_too_many_lines(version: int) -> None:
    with LoopbackServer(version=version) as server:
        texts = response_texts(
            server, SEND + b"X: y\r\n" * 126 + b"\r\n" + SEND + b"X: y\r\n" * 127 + b"\r\n"
        )
    assert texts == [
        b"Message successfully sent", b"Too many lines in message or allocation failure",
    ]  # fmt: skip


# Commands and lists


@EACH
def test_command_output(version: int) -> None:
    lines = ["Asterisk", "", "  two", "last"]
    raw = b"Action: Command\r\nActionID: a\r\nCommand: x\r\n\r\n"
    with LoopbackServer(version=version, handlers={"Command": Output(lines)}) as server:
        with client_of(server.port) as client:
            assert client.command("core show version") == tuple(lines)
        (wire,) = responses(server, raw)
    assert wire == (
        b"Response: Follows\r\nPrivilege: Command\r\nActionID: a\r\nAsterisk\n\n  two\nlast\n"
        b"--END COMMAND--"
        if version == 11
        else b"Response: Success\r\nActionID: a\r\nMessage: Command output follows\r\n"
        b"Output: Asterisk\r\nOutput: \r\nOutput:   two\r\nOutput: last"
    )


@EACH
def test_invalid_command_is_an_error_except_on_11(version: int) -> None:
    step = Output(["No such command"], refused=True)
    with LoopbackServer(version=version, handlers={"Command": step}) as server:
        with client_of(server.port) as client:
            if version == 11:
                assert client.command("x") == ("No such command",)
                return
            with pytest.raises(ActionFailed) as caught:
                client.command("x")
            assert caught.value.response.output == ("No such command",)


@EACH
def test_event_list(version: int) -> None:
    statuses = EventList(
        [Event("Status", [("Channel", name)]) for name in "ab"], "Channel status will follow"
    )
    with LoopbackServer(version=version) as server:
        server.script(statuses, action="Status")
        with client_of(server.port) as client:
            result = client.send_action(Action("Status"))
        server.script(statuses, action="Status")
        start, first, _, end = responses(server, b"Action: Status\r\nActionID: a\r\n\r\n")
    assert [event.headers["Channel"] for event in result.events] == ["a", "b"]
    assert result.complete is not None and result.complete.name == "StatusComplete"
    assert first == b"Event: Status\r\nActionID: a\r\nChannel: a"
    if version == 11:
        assert start.split(b"\r\n")[2:] == [b"Message: Channel status will follow"]
        assert end == b"Event: StatusComplete\r\nActionID: a"
    else:
        assert start.split(b"\r\n")[2:] == [
            b"EventList: start", b"Message: Channel status will follow",
        ]  # fmt: skip
        assert end == (
            b"Event: StatusComplete\r\nActionID: a\r\nEventList: Complete\r\nListItems: 2"
        )


@EACH
def test_lists_of_11_with_event_list_headers(version: int) -> None:
    lists = {"CoreShowChannels": EventList([], "Channels will follow"), "SIPpeers": EventList([])}
    with LoopbackServer(version=version, handlers=lists) as server:
        for name in lists:
            raw = b"Action: %s\r\nActionID: a\rb\r\n\r\n" % name.encode()
            start, end = responses(server, raw)
            assert start.split(b"\r\n")[1:3] == [b"ActionID: a\rb", b"EventList: start"]
            rest = [b"ActionID: a\rb", b"EventList: Complete", b"ListItems: 0"]
            if version == 11:
                rest.append(rest.pop(0))
            assert end.split(b"\r\n") == [b"Event: %sComplete" % name.encode(), *rest]


@EACH
def test_empty_event_list(version: int) -> None:
    handlers = {"QueueStatus": lambda action: EventList([])}
    with LoopbackServer(version=version, handlers=handlers) as server:
        with client_of(server.port) as client:
            result = client.send_action(Action("QueueStatus"))
    assert result.events == () and result.response.message == "List will follow"
    assert result.complete is not None and result.complete.name == "QueueStatusComplete"


# Actions


def headers_of(server: LoopbackServer, name: str, **headers: str) -> Dict[str, str]:
    with client_of(server.port) as client:
        return dict(client.send_action(Action(name, headers)).response.headers)


@EACH
def test_core_settings_and_status(version: int) -> None:
    with LoopbackServer(version=version) as server:
        settings, status = headers_of(server, "CoreSettings"), headers_of(server, "CoreStatus")
        (cut,) = responses(server, b"Action: CoreSettings\r\nActionID: " + b"i" * 140 + b"\r\n\r\n")
    assert settings["AMIversion"] == VERSIONS[version].ami
    assert settings["AsteriskVersion"].startswith(f"{version}.")
    assert ("SoundsSearchCustomDir" in settings) == (version == 22)
    assert time.strptime(status["CoreStartupDate"] + status["CoreReloadTime"], "%Y-%m-%d%H:%M:%S")
    assert status["CoreCurrentCalls"] == "0"
    assert ("CoreProcessedCalls" in status) == (version == 22)
    assert b"i" * 139 + b"AMIversion" in cut


@EACH
def test_list_commands_names_every_action(version: int) -> None:
    with LoopbackServer(version=version) as server:
        names = set(headers_of(server, "ListCommands")) - {"Response", "ActionID"}
        assert len(names) == 14
        for name in names - {"Login", "Logoff"}:
            text, *_ = response_texts(server, b"Action: %s\r\n\r\n" % name.encode())
            assert not text.startswith(b"Invalid/unknown command")
        (text,) = response_texts(server, b"Action: QueueStatus\r\n\r\n")
        assert text.startswith(b"Invalid/unknown command: QueueStatus.")


@EACH
def test_core_show_channels(version: int) -> None:
    with LoopbackServer(version=version) as server, client_of(server.port) as client:
        result = client.send_action(Action("CoreShowChannels"))
    assert result.events == () and result.response.headers["EventList"] == "start"
    assert result.complete is not None and result.complete.headers["ListItems"] == "0"


@EACH
def test_commands(version: int) -> None:
    with LoopbackServer(version=version) as server, client_of(server.port) as client:
        assert client.command("core show uptime seconds") == ("System uptime: 0", "Last reload: 0")
        assert client.command(" CORE  show calls ") == ("0 active calls", "0 calls processed")
        (line,) = client.command("core show version")
        assert line.startswith(f"Asterisk {version}.")
        unknown = (
            "No such command 'a: b c' (type 'core show help a: b' for other possible commands)"
        )
        if version == 11:
            assert client.command("a: b c") == (unknown,)
        else:
            with pytest.raises(ActionFailed) as caught:
                client.command("a: b c")
            assert caught.value.response.output == (unknown,)
        assert response_texts(server, b"Action: Command\r\n\r\n") == [b"No command provided"]


@EACH
def test_variables_can_be_set(version: int) -> None:
    with LoopbackServer(version=version) as server:
        assert headers_of(server, "Getvar", Variable="X")["Value"] == ""
        for name, read in (("X", "X"), ("_Y", "Y"), ("__Z", "Z")):
            assert headers_of(server, "Setvar", Variable=name, Value="a: b ")["Message"]
            assert headers_of(server, "Getvar", Variable=read)["Value"] == "a: b "
        assert headers_of(server, "Getvar", Variable="x")["Value"] == ("a: b " * (version == 11))
        for action in (b"Getvar", b"Setvar"):
            raw = b"Action: %s\r\n" % action
            both = raw + b"\r\n" + raw + b"Variable: X\r\nChannel: y\r\n\r\n"
            assert response_texts(server, both) == [b"No variable specified", b"No such channel"]
        raw = b"Action: Setvar\r\nVariable: LEN(x)\r\n\r\n"
        assert response_texts(server, raw) == [b"Variable not set"]


@EACH
def test_data_get_is_known_to_11(version: int) -> None:
    raw = b"Action: DataGet\r\n"
    with LoopbackServer(version=version) as server:
        texts = response_texts(server, raw + b"\r\n" + raw + b"Path: x\r\n\r\n")
    if version == 11:
        assert texts == [b"'Path' parameter not specified", b"No data returned"]
    else:
        assert all(text.startswith(b"Invalid/unknown command: DataGet.") for text in texts)


@EACH
def test_user_event_is_echoed(version: int) -> None:
    raw = (
        b"Action: UserEvent\r\nActionID: 1\r\nuserevent: Ring\r\nDoor: front\r\nno colon\r\n"
        b"UserEvent: other\r\nX: \xff\r\n\r\n"
    )
    line = b"Action: UserEvent\r\n" if version == 11 else b""
    event = (
        b"Event: UserEvent\r\nPrivilege: user,all\r\nUserEvent: Ring\r\n%sActionID: 1\r\n"
        b"Door: front\r\nno colon\r\nX: \xff\r\n\r\n"
    ) % line
    off = b"Action: Events\r\nEventMask: call\r\n\r\n"
    on = off.replace(b"call", b"user")
    with LoopbackServer(version=version) as server:
        with log_in(server) as sender, log_in(server) as other, log_in(server) as deaf:
            for sock, mask in ((sender, on), (other, on), (deaf, off)):
                sock.sendall(mask)
                assert read_until(sock, b"Events: On\r\n\r\n")
            sender.sendall(raw)
            response = b"Response: Success\r\nActionID: 1\r\nMessage: Event Sent\r\n\r\n"
            assert read_until(sender, event) == response + event
            assert read_until(other, event) == event
            deaf.sendall(PING)
            assert read_until(deaf, b"\r\n\r\n").startswith(b"Response: Success\r\nActionID: ping")
            # A response that is cut off is the end, and the event is sent all the same.
            server.script(Disconnect(after=5), action="UserEvent")
            sender.sendall(raw)
            assert read_until(sender, event) == b"Respo"
            assert read_until(other, event) == event
            server.script(refuse("no"), action="UserEvent")
            other.sendall(raw + b"Action: Logoff\r\n\r\n")
            assert b"Event: " not in read_until(other, b"fish.\r\n\r\n")


# TLS


def padded(size: int, name: bytes = b"to") -> bytes:
    """Return a MessageSend of this size, in lines within the limit."""
    start = b"Action: MessageSend\r\nActionID: %s\r\nTo: xmpp:a\r\nX: " % name
    rest = size - len(start) - len(b"\r\n\r\n")
    lines = [b"x" * min(rest - at, 900) for at in range(0, rest, 902)]
    return start + b"\r\n".join(lines) + b"\r\n\r\n"


def write_records(sock: socket.socket, raw: bytes) -> None:
    """Write a TLS record for each line."""
    for line in raw.splitlines(keepends=True):
        sock.sendall(line)


def is_silent(sock: socket.socket) -> bool:
    """Return whether no data arrives for some time."""
    sock.settimeout(HANGS)
    try:
        sock.recv(1)
    except socket.timeout:
        return True
    finally:
        sock.settimeout(10.0)
    return False


@EACH
def test_long_tls_record_waits_for_more_data(version: int) -> None:
    with LoopbackServer(version=version, tls=server_tls()) as server:
        with log_in(server) as sock:
            sock.sendall(padded(1500))
            assert is_silent(sock) and server.messages == []
            sock.sendall(PING)
            assert read_until(sock, b"\r\n\r\n").count(b"Response: Success") >= 1
        assert len(server.messages) == 1
        with log_in(server) as sock:
            sock.sendall(padded(1024))
            assert read_until(sock, b"\r\n\r\n").startswith(b"Response: Success")


@EACH
def test_tls_read_on_11_can_end_between_cr_and_lf(version: int) -> None:
    with LoopbackServer(version=version, tls=server_tls()) as server:
        silent = []
        for size in (1023, 1024, 1025, 1026):
            with log_in(server) as sock:
                write_records(sock, padded(size))
                if is_silent(sock):
                    silent.append(size)
    assert silent == ([1025] if version == 11 else [])


@EACH
def test_11_disconnects_if_more_than_one_tls_read_is_in_flight(version: int) -> None:
    with LoopbackServer(version=version, tls=server_tls()) as server:
        for size, survives in ((500, True), (700, version != 11)):
            with log_in(server) as sock:
                write_records(sock, padded(size, b"a") + padded(size, b"b"))
                data = read_until(
                    sock, b"ActionID: b\r\nMessage: Message successfully sent\r\n\r\n"
                )
            assert data.count(b"successfully") == (2 if survives else 0)


@pytest.mark.parametrize("more", [b"\r", PING], ids=["byte", "action"])
@EACH
def test_11_disconnects_if_a_tls_record_has_more_than_one_read(version: int, more: bytes) -> None:
    with LoopbackServer(version=version, tls=server_tls()) as server:
        with log_in(server) as sock:
            sock.sendall(padded(TLS_READ) + more)
            data = read_until(sock, b"\r\n\r\n")
    assert data.count(b"successfully") == (0 if version == 11 else 1)
    assert len(server.messages) == 1
