"""The loopback server as the Asterisk it is told to be: a test for each fact that differs."""

from __future__ import annotations

import socket
import ssl
from typing import Dict, List, Tuple

import pytest

from amiclient import ACCEPTED, Action, ActionFailed, Event, MessageSend
from amiclient.loopback import EventList, LoopbackServer, Output, Received
from amiclient.loopback.versions import DEFAULT_VERSION, VERSIONS
from amiproto import NEED_DATA, Banner, Connection, InvalidAddress, Role, Session
from tests.certificates import SERVER_PEM, server_tls
from tests.faults import client_of

ALL = sorted(VERSIONS)
EACH = pytest.mark.parametrize("version", ALL)

LOGIN = b"Action: Login\r\nUsername: loopback\r\nSecret: loopback\r\n\r\n"
PING = b"Action: Ping\r\nActionID: ping\r\n\r\n"
SEND = b"Action: MessageSend\r\nTo: sip:a\r\n"

TOO_LONG = b"Failed to parse message: line too long"
PONG = b"Ping: Pong"

#: Seconds in which an answer comes, unless it never does.
HANGS = 0.4


def connected(server: LoopbackServer) -> socket.socket:
    """A socket that has logged in, over TLS where the server has that."""
    sock = socket.create_connection((server.host, server.port), 10.0)
    if server.url.startswith("amis:"):
        context = ssl.create_default_context(cafile=SERVER_PEM)
        sock = context.wrap_socket(sock, server_hostname="localhost")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(LOGIN)
    answer(sock, b"accepted\r\n\r\n")
    return sock


def answer(sock: socket.socket, end: bytes) -> bytes:
    """What comes up to these bytes, or up to the end of the stream, in order or by a reset."""
    data = b""
    while not data.endswith(end):
        try:
            more = sock.recv(65536)
        except ConnectionResetError:  # who closes with bytes unread sends one
            break
        if not more:
            break
        data += more
    return data


def answers(server: LoopbackServer, raw: bytes) -> List[bytes]:
    """The stanzas, without their blank lines, that answer raw bytes."""
    with connected(server) as sock:
        sock.sendall(raw + b"Action: Logoff\r\n\r\n")
        return answer(sock, b"fish.\r\n\r\n").split(b"\r\n\r\n")[:-2]


def told(server: LoopbackServer, raw: bytes) -> List[bytes]:
    """The last line of each answer to raw bytes, which is mostly its Message."""
    lines = [stanza.rpartition(b"\r\n")[2] for stanza in answers(server, raw)]
    return [line.replace(b"Message: ", b"") for line in lines]


def test_a_version_that_was_not_looked_at_is_refused() -> None:
    for version in (0, 13, 23, "22", "11.0.0", None):
        with pytest.raises(ValueError, match="11, 16, 22"):
            LoopbackServer(version=version)  # type: ignore[arg-type]
    assert DEFAULT_VERSION == 22


@EACH
def test_the_banner(version: int) -> None:
    banners = {11: "1.3", 16: "5.0.4", 22: "11.0.0"}
    with LoopbackServer(version=version) as server, client_of(server.port) as client:
        assert client.server_version == banners[version]
    with LoopbackServer() as server, client_of(server.port) as client:
        assert client.server_version == banners[DEFAULT_VERSION]


# -- Messages.


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@EACH
def test_a_client_sends_what_arrives(version: int, tls: bool) -> None:
    messages = [
        MessageSend("sip:alice", "one\ntwo", "Door <sip:door@example.org>", {"X-A": "(a), b"}),
        MessageSend("pjsip:sip:bob@127.0.0.1:5060", "x" * 1016),
        MessageSend("sip:bob", "y\n" * 378, None, {f"X-{n}": "v" * 90 for n in range(40)}),
    ]
    context = server_tls() if tls else None
    with LoopbackServer(version=version, tls=context) as server:
        with client_of(server.port, tls=SERVER_PEM if tls else None) as client:
            for message in messages:
                assert client.send(message).outcome == ACCEPTED
            results = list(client.send_messages(messages * 5))
    assert [result.outcome for result in results] == [ACCEPTED] * 15
    assert server.messages == [Received.of(message) for message in messages] * 6


@pytest.mark.parametrize("mechanism", ["md5", "plain"])
@EACH
def test_both_ways_to_log_in(version: int, mechanism: str) -> None:
    with LoopbackServer(version=version) as server:
        with client_of(server.port, mechanism=mechanism) as client:
            client.ping()


@EACH
def test_destination_routes_unless_the_server_ignores_it(version: int) -> None:
    raw = b"Action: MessageSend\r\nTo: sip:a\r\nDestination: none:b\r\nBody: c\r\n\r\n"
    only = b"Action: MessageSend\r\nDestination: sip:b\r\nBody: c\r\n\r\n"
    with LoopbackServer(version=version) as server:
        said = told(server, raw + only)
        with client_of(server.port) as client:
            message = MessageSend("pjsip:b", "b", destination="pjsip:b")
            if version == 11:
                with pytest.raises(InvalidAddress):
                    client.send(message)
            else:
                client.send(message)
    if version == 11:
        assert said == [b"Message successfully sent", b"No 'To' address specified."]
        assert server.messages == [Received("sip:a", "c")]
    else:
        assert said == [b"Message technology not found.", b"Message successfully sent"]
        assert [message.destination for message in server.messages] == ["sip:b", "pjsip:b"]


@EACH
def test_the_spelling_of_a_technology(version: int) -> None:
    raw = b"Action: MessageSend\r\nTo: SIP:a\r\nBody: b\r\n\r\n"
    with LoopbackServer(version=version, technologies=["sip"]) as server:
        (said,) = told(server, raw)
        assert told(server, raw.replace(b"SIP", b"fax")) == [b"Message technology not found."]
    expected = b"Message successfully sent" if version == 11 else b"Message technology not found."
    assert said == expected


#: What is written, and what counts: on 11 and on the others.
VARIABLES = [
    (["X=1", "X=2"], ["X=1"], ["X=2"]),
    (["X=1,x=2", "X=3"], ["X=1"], ["X=3"]),
    (["X=1", "Y=2", "Z=3"], ["X=1", "Y=2", "Z=3"], ["X=1", "Y=2", "Z=3"]),
    (["X=1", "X="], ["X=1"], []),
    (["X=", "X=1"], [], ["X=1"]),
    (["X="], [], []),
]


@pytest.mark.parametrize("written, old, new", VARIABLES)
@EACH
def test_which_of_repeated_variables_counts(
    version: int, written: List[str], old: List[str], new: List[str]
) -> None:
    lines = b"".join(b"Variable: %s\r\n" % item.encode() for item in written)
    with LoopbackServer(version=version) as server:
        told(server, SEND + lines + b"\r\n")
    (message,) = server.messages
    assert [f"{name.upper()}={value}" for name, value in message.variables] == (
        old if version == 11 else new
    )


# -- Lines.

#: Bytes of a line before its CR LF, and what is said to an action that has it in its middle, by the
#: last byte of the buffer: kept, or dropped with the others.
LINES: Dict[int, Tuple[List[bytes], List[bytes]]] = {
    1022: ([PONG], [PONG]),
    1023: ([TOO_LONG, b"Missing action in request"],) * 2,
    1024: ([TOO_LONG], [TOO_LONG, b"Missing action in request"]),
    1025: ([TOO_LONG], [TOO_LONG]),
    2046: ([TOO_LONG, b"Missing action in request"], [TOO_LONG]),
    2047: ([TOO_LONG], [TOO_LONG, b"Missing action in request"]),
    2048: ([TOO_LONG], [TOO_LONG, b"Missing action in request"]),
    2049: ([TOO_LONG], [TOO_LONG]),
}


@pytest.mark.parametrize("size", LINES)
@EACH
def test_a_line_over_the_buffer(version: int, size: int) -> None:
    raw = b"Action: Ping\r\n" + b"X: ".ljust(size, b"x") + b"\r\nAfter: it\r\n\r\n"
    with LoopbackServer(version=version) as server:
        said = told(server, raw)
    said = [PONG if line.startswith(b"Timestamp") else line for line in said]
    assert said == LINES[size][version == 11]


@EACH
def test_the_codec_cuts_as_the_banner_it_sent(version: int) -> None:
    connection = Connection(Role.SERVER)
    connection.send(Banner(VERSIONS[version].ami))
    connection.receive_data(SEND + b"X: ".ljust(1024, b"x") + b"\r\n" + SEND + b"\r\n")
    messages = list(iter(connection.next_event, NEED_DATA))
    # What follows the long line is carried out by itself where the line's end became a blank line.
    assert [type(message).__name__ for message in messages] == (
        ["InvalidAction", "Action"] if version == 11 else ["InvalidAction"]
    )


@EACH
def test_more_lines_than_an_action_may_have(version: int) -> None:
    with LoopbackServer(version=version) as server:
        said = told(server, SEND + b"X: y\r\n" * 126 + b"\r\n" + SEND + b"X: y\r\n" * 127 + b"\r\n")
    assert said == [
        b"Message successfully sent", b"Too many lines in message or allocation failure",
    ]  # fmt: skip


# -- Commands and lists.


@EACH
def test_the_output_of_a_command(version: int) -> None:
    lines = ["Asterisk", "", "  two", "last"]
    raw = b"Action: Command\r\nActionID: a\r\nCommand: x\r\n\r\n"
    with LoopbackServer(version=version, handlers={"Command": Output(lines)}) as server:
        with client_of(server.port) as client:
            assert client.command("core show version") == tuple(lines)
        (wire,) = answers(server, raw)
    assert wire == (
        b"Response: Follows\r\nPrivilege: Command\r\nActionID: a\r\nAsterisk\n\n  two\nlast\n"
        b"--END COMMAND--"
        if version == 11
        else b"Response: Success\r\nActionID: a\r\nMessage: Command output follows\r\n"
        b"Output: Asterisk\r\nOutput: \r\nOutput:   two\r\nOutput: last"
    )


@EACH
def test_a_refused_command_says_so_from_asterisk_14_on(version: int) -> None:
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
def test_how_a_list_begins_and_ends(version: int) -> None:
    listing = EventList(
        [Event("Status", [("Channel", name)]) for name in "ab"], "Channel status will follow"
    )
    with LoopbackServer(version=version) as server:
        server.script(listing, action="Status")
        with client_of(server.port) as client:
            reply = client.send_action(Action("Status"))
        server.script(listing, action="Status")
        start, first, _, end = answers(server, b"Action: Status\r\nActionID: a\r\n\r\n")
    assert [event.headers["Channel"] for event in reply.events] == ["a", "b"]
    assert reply.complete is not None and reply.complete.name == "StatusComplete"
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
def test_a_list_of_nothing(version: int) -> None:
    handlers = {"QueueStatus": lambda action: EventList([])}
    with LoopbackServer(version=version, handlers=handlers) as server:
        with client_of(server.port) as client:
            reply = client.send_action(Action("QueueStatus"))
    assert reply.events == () and reply.response.message == "List will follow"
    assert reply.complete is not None and reply.complete.name == "QueueStatusComplete"


@EACH
def test_a_session_alone_understands_it(version: int) -> None:
    with LoopbackServer(version=version) as server:
        server.script(Output(["a", ""]), action="Command")
        server.script(EventList([Event("Item")]), action="List")
        session = Session("loopback", "loopback", entropy=b"e" * 16)
        received: List[object] = []
        with socket.create_connection((server.host, server.port), 10.0) as sock:
            while len(received) < 3:
                event = session.next_event()
                sock.sendall(session.data_to_send())
                if event is NEED_DATA:
                    session.receive_data(sock.recv(65536))
                elif type(event).__name__ == "LoggedIn":
                    for action in (
                        Action("Command", [("Command", "x")]), Action("List"),
                        MessageSend("sip:a", "b"),
                    ):  # fmt: skip
                        sock.sendall(session.send(action).wire)
                else:
                    received.append(event)
    command, listed, sent = received
    assert command.response.output == ("a", "")  # type: ignore[attr-defined]
    assert len(listed.events) == 1  # type: ignore[attr-defined]
    assert sent.response.name == "Success"  # type: ignore[attr-defined]


# -- Reading over TLS.


def padded(size: int, name: bytes = b"to") -> bytes:
    """A MessageSend of so many bytes, in lines that are short enough."""
    start = b"Action: MessageSend\r\nActionID: %s\r\nTo: sip:a\r\nX: " % name
    rest = size - len(start) - len(b"\r\n\r\n")
    lines = [b"x" * min(rest - at, 900) for at in range(0, rest, 902)]
    return start + b"\r\n".join(lines) + b"\r\n\r\n"


def records(sock: socket.socket, raw: bytes) -> None:
    """Write a record of TLS for each line."""
    for line in raw.splitlines(keepends=True):
        sock.sendall(line)


def is_silent(sock: socket.socket) -> bool:
    """Whether nothing comes for some time."""
    sock.settimeout(HANGS)
    try:
        sock.recv(1)
    except socket.timeout:
        return True
    finally:
        sock.settimeout(10.0)
    return False


@EACH
def test_the_rest_of_a_long_record_waits_for_more(version: int) -> None:
    with LoopbackServer(version=version, tls=server_tls()) as server:
        with connected(server) as sock:
            sock.sendall(padded(1500))
            assert is_silent(sock) and server.messages == []
            sock.sendall(PING)
            assert answer(sock, b"\r\n\r\n").count(b"Response: Success") >= 1
        assert len(server.messages) == 1
        with connected(server) as sock:
            sock.sendall(padded(1023))
            assert answer(sock, b"\r\n\r\n").startswith(b"Response: Success")


@EACH
def test_a_read_ends_between_cr_and_lf_on_11(version: int) -> None:
    with LoopbackServer(version=version, tls=server_tls()) as server:
        silent = []
        for size in (1022, 1023, 1024, 1025):
            with connected(server) as sock:
                records(sock, padded(size))
                if is_silent(sock):
                    silent.append(size)
    assert silent == ([1024] if version == 11 else [])


@EACH
def test_more_than_a_read_in_flight_ends_the_session_on_11(version: int) -> None:
    with LoopbackServer(version=version, tls=server_tls()) as server:
        for size, lives in ((500, True), (700, version != 11)):
            with connected(server) as sock:
                records(sock, padded(size, b"a") + padded(size, b"b"))
                said = answer(sock, b"ActionID: b\r\nMessage: Message successfully sent\r\n\r\n")
            assert said.count(b"successfully") == (2 if lives else 0)


@pytest.mark.parametrize("more", [b"\r", PING], ids=["byte", "action"])
@EACH
def test_more_in_the_record_of_a_read_ends_the_session_on_11(version: int, more: bytes) -> None:
    with LoopbackServer(version=version, tls=server_tls()) as server:
        with connected(server) as sock:
            sock.sendall(padded(VERSIONS[version].tls_read) + more)
            said = answer(sock, b"\r\n\r\n")
    assert said.count(b"successfully") == (0 if version == 11 else 1)
    assert len(server.messages) == 1
