"""The loopback server compared with real ones: the same bytes, responses and messages.

The real server is the reference. The docstring of ``LoopbackServer`` has the intended deviations.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import md5
from typing import Any, Callable, Iterator, List, NamedTuple, Tuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from amiclient.loopback import EventList, LoopbackServer, Output, Received, refuse
from amiclient.loopback.versions import VERSIONS
from amiproto import Event, Response
from amiproto._text import to_bytes
from amiproto.messaging._sip import RESERVED_VARIABLES
from tests.certificates import server_tls
from tests.live.ami import TIMEOUT, RawAMI, connected, logged_in
from tests.live.configuration import USERS
from tests.live.delivery import require
from tests.live.phone import SipMessage
from tests.live.servers import Live
from tests.live.stanzas import (
    EVENT_MASKS,
    FAILED_LOGINS,
    PING,
    STANZAS,
    TO,
    Stanza,
    action,
    login,
    send,
)
from tests.live.versions import ONE_LOGIN_OF_A_USER

#: The number of generated examples for each server.
EXAMPLES = int(os.environ.get("AMICLIENT_LIVE_EXAMPLES") or 150)

#: Headers that pjsip sets itself.
_OWN_HEADERS = frozenset(
    b"via from to call-id cseq contact max-forwards user-agent content-type content-length".split()
)
_UNSENT = RESERVED_VARIABLES | {"content-type"}

#: Values that are different each time.
_VARYING = re.compile(
    rb"(?<=\nTimestamp: )\d{10,}\.\d{6}(?=\r\n)"
    rb"|(?<=\nAsteriskVersion: )\S+|(?<=Output: Asterisk )[^\r]+|(?<=uptime: )\d+|(?<=reload: )\d+"
    rb"|(?<=Date: )\d{4}-\d\d-\d\d|(?<=Time: )\d\d:\d\d:\d\d"
    rb"|(?<=\nChallenge: )\d+(?=\r\n)|(?<=\nUptime: )\d+(?=\r\n)|(?<=\nLastReload: )\d+(?=\r\n)"
)


class Delivered(NamedTuple):
    """A message that arrived."""

    uri: bytes
    body: bytes
    #: The header lines from variables, sorted, because the server does not keep their order.
    lines: Tuple[bytes, ...]


class Outcome(NamedTuple):
    """The responses to some bytes, and the messages that arrived."""

    responses: bytes
    delivered: List[Delivered]


class Pair:
    """A real server with its phone, and a loopback server with the same users."""

    def __init__(self, live: Live, loopback: LoopbackServer, marker: RawAMI) -> None:
        self.live = live
        self.loopback = loopback
        phone = f"127.0.0.1:{live.phone.port}"
        # What precedes the user of a URI, and the user of the endpoint alice.
        direct, alice = {"pjsip": ("pjsip:sip:", "alice@"), "sip": ("sip:", "")}[live.technology]
        self._filled = {
            b"pjsip:sip:": direct.encode(),
            b"pjsip": live.technology.encode(),
            b"{phone}": b"%d" % live.phone.port,
        }
        #: The request URI of each address that leads to the phone.
        self.addresses = {
            "sip:alice": f"sip:{phone}".encode(),
            live.to: f"sip:{alice}{phone}".encode(),
            f"{direct}bob@{phone}": f"sip:bob@{phone}".encode(),
        }
        self._marker = marker

    def responses_live(self, stanza: Stanza) -> bytes:
        """Return the responses of the real server."""
        with connected("127.0.0.1", self.live.server.port) as ami:
            return _exchange(ami, self._fill(stanza))

    def ask_live(self, stanza: Stanza) -> Outcome:
        """Return the responses of the real server, and the messages at its phone."""
        responses = self.responses_live(stanza)
        # The server sends messages in order, so those of this stanza arrive before the marker.
        mark = send(b"Body: end mark", b"Variable: X-Mark=end", to=f"To: {self.live.to}".encode())
        self._marker.socket.sendall(mark)
        self._marker.read_stanza()
        arrived: List[SipMessage] = []
        while not arrived or arrived[-1].headers_named("X-Mark") != [b"end"]:
            arrived.append(self.live.phone.next_message())
        return Outcome(responses, [_arrived(message) for message in arrived[:-1]])

    def ask_loopback(self, stanza: Stanza) -> Outcome:
        """Return the same for the loopback server."""
        earlier = len(self.loopback.messages)
        with connected("127.0.0.1", self.loopback.port) as ami:
            responses = _exchange(ami, self._fill(stanza))
        return Outcome(responses, [self._kept(one) for one in self.loopback.messages[earlier:]])

    def _fill(self, stanza: Stanza) -> Stanza:
        raw = stanza.raw
        for old, new in self._filled.items():
            raw = raw.replace(old, new)
        return stanza._replace(raw=raw)

    def _kept(self, message: Received) -> Delivered:
        target = message.to if message.destination is None else message.destination
        uri = self.addresses.get(target, to_bytes(target))
        variables = [one for one in message.variables if one[0].lower() not in _UNSENT]
        lines = [to_bytes(f"{name}: {value}") for name, value in variables]
        return Delivered(uri, message.body, tuple(sorted(lines)))


def _arrived(message: SipMessage) -> Delivered:
    lines = message.raw.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    kept = [line for line in lines if line.partition(b":")[0].lower() not in _OWN_HEADERS]
    return Delivered(message.request_uri.encode("latin-1"), message.body, tuple(sorted(kept)))


def _exchange(ami: RawAMI, stanza: Stanza) -> bytes:
    """Return the bytes that a server sends in response until it closes the connection."""
    if stanza.logged_in:
        ami.socket.sendall(login("messenger"))
        ami.read_stanza()
    lines: List[bytes] = []
    # A server that closes with unread input resets the connection.
    with suppress(ConnectionError):
        ami.socket.sendall(stanza.raw)
    if not stanza.closes:
        # The server processes everything that it has read before it notices the end.
        with suppress(OSError):
            ami.socket.shutdown(socket.SHUT_WR)
    with suppress(ConnectionResetError):
        lines.extend(ami.stream)
    return _VARYING.sub(b"...", b"".join(lines))


def loopback_of(live: Live, **options: Any) -> LoopbackServer:
    """Return a loopback server of the newest version that is not newer than the real one."""
    server, name = live.server, live.technology
    version = max(version for version in VERSIONS if version <= server.major)
    return LoopbackServer(
        users=server.users,
        technologies=server.technologies,
        version=version,
        unreachable=[name, f"{name}:", f"{name}:sip:", f"{name}:nosuch"],  # also for Asterisk
        **options,
    )


@pytest.fixture(scope="module")
def pair(live: Live) -> Iterator[Pair]:
    with loopback_of(live) as loopback, logged_in(live.server, "admin") as marker:
        yield Pair(live, loopback, marker)


def test_stanza_names_are_unique() -> None:
    names = [stanza.name for stanza in STANZAS + FAILED_LOGINS]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("stanza", STANZAS, ids=lambda stanza: stanza.name)
def test_stanza(pair: Pair, stanza: Stanza) -> None:
    assert pair.ask_loopback(stanza) == pair.ask_live(stanza)


@pytest.mark.parametrize("count", [53, 54, 55, 56, 70])
def test_variables_by_chan_sip(pair: Pair, count: int) -> None:
    variables = [b"Variable: X-%d=%d" % (number, number) for number in range(count)]
    stanza = Stanza("sip", send(b"Body: x", *variables, to=b"To: sip:alice"))
    assert pair.ask_loopback(stanza) == pair.ask_live(stanza)


def test_failed_logins(pair: Pair) -> None:
    # In parallel, because each takes a second.
    with ThreadPoolExecutor(len(FAILED_LOGINS)) as pool:
        real = list(pool.map(pair.responses_live, FAILED_LOGINS))
    for stanza, responses in zip(FAILED_LOGINS, real):
        assert responses.count(b"Authentication failed") == 1, stanza.name
        assert pair.ask_loopback(stanza) == Outcome(responses, []), stanza.name


def _log_in_by_challenge(port: int, secret: str) -> List[bytes]:
    """Return the stanzas of a login that succeeds, and of one that fails."""
    transcript = []
    off = b"Events: off"  # the real user receives no events

    def ask(ami: RawAMI, *lines: bytes) -> bytes:
        ami.send(*lines)
        stanza = ami.read_stanza()
        transcript.append(_VARYING.sub(b"...", stanza))
        return stanza

    def challenge(ami: RawAMI) -> bytes:
        stanza = ask(ami, b"Action: Challenge", b"AuthType: MD5")
        return stanza.partition(b"Challenge: ")[2].rstrip()

    with connected("127.0.0.1", port) as ami:
        first = challenge(ami)
        assert first.isdigit() and challenge(ami) == first
        key = md5(first + secret.encode()).hexdigest().encode()
        ask(ami, b"Action: Login", b"AuthType: mD5", b"Username: MESSENGER", b"Key: " + key, off)
        assert challenge(ami) == first
        ask(ami, b"Action: Ping")
    with connected("127.0.0.1", port) as ami:
        key = md5(challenge(ami) + secret.encode()).hexdigest().upper().encode()
        ask(ami, b"Action: Login", b"AuthType: MD5", b"Username: messenger", b"Key: " + key)
        assert ami.stream.read() == b""
    return transcript


def test_login_by_challenge(pair: Pair) -> None:
    secret = pair.live.server.users["messenger"]
    real = _log_in_by_challenge(pair.live.server.port, secret)
    assert real == _log_in_by_challenge(pair.loopback.port, secret)
    assert b"Authentication accepted" in real[2] and b"Authentication failed" in real[-1]


def _transcript(port: int, *stanzas: bytes) -> List[bytes]:
    """Return the responses to stanzas on one connection, and what follows the last up to the end.

    Each response is awaited before the next stanza is sent.
    """
    with connected("127.0.0.1", port) as ami:
        responses = []
        for raw in stanzas:
            ami.socket.sendall(raw)
            responses.append(_VARYING.sub(b"...", ami.read_stanza()))
        with suppress(OSError):
            ami.socket.shutdown(socket.SHUT_WR)
        return [*responses, ami.stream.read()]


_CHALLENGE = action(b"Action: Challenge", b"AuthType: MD5", b"Username: single")
_LOGOFF = action(b"Action: Logoff", b"ActionID: off")


def test_login_already_in_use(pair: Pair) -> None:
    require(pair.live, ONE_LOGIN_OF_A_USER)
    for raw, name in ((_CHALLENGE, "Challenge"), (login("single"), "Login")):
        with logged_in(pair.live.server, "single"):
            # The Ping has no response: the server has closed the connection.
            real = _transcript(pair.live.server.port, raw)
        pair.loopback.script(refuse("Login Already In Use"), action=name)
        assert _transcript(pair.loopback.port, raw) == real
        assert real[0].endswith(b"Message: Login Already In Use\r\n\r\n")


def test_logins_during_shutdown(pair: Pair) -> None:
    stanzas = [_CHALLENGE, login("admin"), login("admin"), _LOGOFF]
    with pair.live.another_server() as server, logged_in(server, "admin") as ami:
        # The server waits for the end of a call.
        ami.ask(
            b"Action: Originate", b"Channel: Local/wait@capture", b"Application: Wait",
            b"Data: 5", b"Async: true",
        )  # fmt: skip
        response = b""
        while b"Wait(5)" not in response:
            ami.send(b"Action: Command", b"Command: core show channels")
            response = ami.read_stanza()
        ami.send(b"Action: Command", b"Command: core stop gracefully")  # no response
        while b"Permission denied" in _transcript(server.port, PING)[0]:
            time.sleep(0.02)
        real = _transcript(server.port, *stanzas)
    for name in ("Challenge", "Login", "Login", "Logoff"):
        pair.loopback.script(refuse("Asterisk is shutting down"), action=name)
    assert _transcript(pair.loopback.port, *stanzas) == real
    assert real == [
        *[b"Response: Error\r\nMessage: Asterisk is shutting down\r\n\r\n"] * 3,
        b"Response: Error\r\nActionID: off\r\nMessage: Asterisk is shutting down\r\n\r\n",
        b"",
    ]


# ---- events ----


def _event_names(port: int, mask: bytes, send_event: Callable[[], object]) -> List[List[bytes]]:
    """Return what a session sees of FullyBooted and of a UserEvent.

    The lists are: after a login with this mask; after ``send_event``; after an action Events with
    the same mask in a session without events, with its response; and after ``send_event`` again.
    """

    def ask(ami: RawAMI, *raw: bytes) -> List[bytes]:
        ami.socket.sendall(b"".join(raw) + PING)
        stanzas: List[bytes] = []
        while not stanzas or b"Ping: Pong" not in stanzas[-1]:
            stanzas.append(_VARYING.sub(b"...", ami.read_stanza()))
        # Every login causes a SuccessfulAuth, of the class security, in every session.
        return [stanza for stanza in stanzas if b"Event: SuccessfulAuth" not in stanza]

    secret = b"Secret: " + USERS["admin"].encode()
    start = (b"Action: Login", b"Username: admin", secret)
    with connected("127.0.0.1", port) as ami, connected("127.0.0.1", port) as other:
        seen = [ask(ami, action(*start, b"Events: " + mask))]
        send_event()
        seen.append(ask(ami))
        ask(other, action(*start, b"Events: off"))
        seen.append(ask(other, action(b"Action: Events", b"EventMask: " + mask)))
        send_event()
        seen.append(ask(other))
    return seen


@pytest.mark.parametrize("mask", EVENT_MASKS)
def test_event_mask(pair: Pair, mask: bytes) -> None:
    with connected(pair.live.server.host, pair.live.server.port) as observer:
        observer.socket.sendall(login("admin"))
        observer.read_stanza()
        observer.ask(b"Action: Events", b"EventMask: user")

        def send_user_event() -> bytes:
            # Once one session has received it, it is in the queues of all.
            observer.send(b"Action: UserEvent", b"UserEvent: Any")
            stanzas = [observer.read_stanza(), observer.read_stanza()]
            return next(stanza for stanza in stanzas if stanza.startswith(b"Event: "))

        event = Event.from_wire(send_user_event())
        real = _event_names(pair.live.server.port, mask, send_user_event)
    ours = _event_names(pair.loopback.port, mask, lambda: pair.loopback.send_event(event))
    assert ours == real


# ---- differences between versions ----


def _session(port: int, *actions: bytes) -> List[bytes]:
    """Return the banner, and the responses to each action of the user admin."""
    with connected("127.0.0.1", port) as ami:
        responses = [ami.banner]
        ami.socket.sendall(login("admin"))
        ami.read_stanza()
        for raw in actions:
            ami.socket.sendall(raw + PING)
            data = b""
            while not data.endswith(b"\r\nPing: Pong\r\n"):
                data += ami.stream.readline()
            responses.append(data.rpartition(b"Response: ")[0])
            ami.read_stanza()
    return responses


def test_banner_commands_and_lists(pair: Pair) -> None:
    commands = [
        action(b"Action: Command", b"ActionID: c", b"Command: " + text)
        for text in (b"no such command", b"core show uptime seconds")
    ]
    listing = action(b"Action: CoreShowChannels", b"ActionID: l")
    real = _session(pair.live.server.port, *commands, listing)
    # The loopback server is given the real output; how it is framed depends on the version.
    for wire, fails in zip(real[1:3], (True, False)):
        lines = Response.from_wire(wire).output
        pair.loopback.script(Output(lines, fails), action="Command")
    pair.loopback.script(EventList([], "Channels will follow"), action="CoreShowChannels")
    ours = _session(pair.loopback.port, *commands, listing)
    assert ours[1:] == real[1:]
    if pair.live.server.major in VERSIONS:
        assert ours[0].partition(b".")[0] == real[0].partition(b".")[0]


#: The headers of actions other than MessageSend; each has a response of its own.
ACTIONS = [
    *[f"Action: {name}" for name in ("Command", "UserEvent", "Getvar", "Setvar")],
    *[f"Action: {name}\r\nActionID: {'i' * size}"
      for name in ("CoreSettings", "CoreShowChannels", "CoreStatus", "Getvar", "UserEvent")
      for size in (4, 137, 138, 140, 200)],
    *[f"Action: Command\r\nActionID: a\rb\r\nCommand: {text}" for text in (
        "core show calls", "core show channels count", "core show uptime seconds", " ", "no",
        " Core  show version ", "no \r such: \xff command", "core nothing", "core show uptime")],
    *[f"Action: Setvar\r\nVariable: {name}\r\nValue: {name} \xff%s " for name in (
        "A", "a", "_B", "__C", "___D", "no)", "E(", " F ", "\xff")],
    *[f"Action: Getvar\r\nVariable: {name}" for name in (
        "A", "a", "_B", "B", "__C", "C", "_D", "D", "no)", "E(", "F", "F ", "\xff", "")],
    "Action: Setvar\r\nVariable: A", "Action: Getvar\r\nVariable: A",
    "Action: Setvar\r\nVariable: A\r\nChannel: none", "Action: Setvar\r\nChannel: none",
    "Action: Getvar\r\nVariable: A\r\nChannel: none",
    "Action: MessageSend\r\nTo: pjsip:nosuch/a", "Action: DataGet\r\nPath: none",
    "Action: QueueSummary",
]  # fmt: skip


def test_actions(pair: Pair) -> None:
    actions = [action(text.encode("latin-1")) for text in ACTIONS]
    real = _session(pair.live.server.port, *actions)[1:]
    ours = _session(pair.loopback.port, *actions)[1:]
    for text, expected, response in zip(ACTIONS, real, ours):
        assert _VARYING.sub(b"...", response) == _VARYING.sub(b"...", expected), text


def test_list_commands(pair: Pair) -> None:
    real, ours = [
        Response.from_wire(_session(port, action(b"Action: ListCommands"))[1]).headers.items()
        for port in (pair.live.server.port, pair.loopback.port)
    ]
    assert [line for line in real if line in ours] == list(ours)


#: UserEvents with unusual lines.
USER_EVENTS = [
    action(b"Action: UserEvent", *lines)
    for lines in (
        (),
        (b"ActionID: a", b"UserEvent: X", b"Key: v"),
        (b"no colon", b"UserEvent : X", b"userevent:Y", b"UserEvent: Z", b"Actions: a", b" K: v"),
        (b"ActionID: a", b"ActionID: b", b"ACTION: c", b"Empty:", b"B: \xff \r%s", b"Event: Other"),
        (b"Privilege: system,all", b"Response: Error", b"EventList: start"),
    )
]  # fmt: skip


def _responses_to_user_events(port: int, mask: bytes) -> List[bytes]:
    with connected("127.0.0.1", port) as ami, connected("127.0.0.1", port) as other:
        seen = []
        for one in (ami, other):
            one.socket.sendall(login("admin") + action(b"Action: Events", b"EventMask: " + mask))
            assert [one.read_stanza() for _ in range(2)][1].startswith(b"Response: Success")
        for raw in USER_EVENTS:
            ami.socket.sendall(raw)
            expected = [(ami, 2), (other, 1)] if b"user" in mask else [(ami, 1)]
            seen += [one.read_stanza() for one, count in expected for _ in range(count)]
        for one in (ami, other):
            one.socket.sendall(action(b"Action: Logoff"))
            seen.append(one.stream.read())
    return seen


@pytest.mark.parametrize("mask", [b"user", b"call"])
def test_user_events(pair: Pair, mask: bytes) -> None:
    real = _responses_to_user_events(pair.live.server.port, mask)
    assert _responses_to_user_events(pair.loopback.port, mask) == real


def _send_records(port: int, records: List[bytes]) -> Tuple[bytes, bytes]:
    """Return the responses to TLS records until a pause, and then to another record."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as plain:
        with context.wrap_socket(plain) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(login("messenger"))
            while not connection.recv(65536).endswith(b"accepted\r\n\r\n"):
                pass
            connection.settimeout(0.3)
            responses: List[bytes] = []
            for part in (records, [PING]):
                for record in part:
                    connection.sendall(record)
                data = b""
                with suppress(socket.timeout):
                    for more in iter(lambda: connection.recv(65536), b""):
                        data += more
                responses.append(_VARYING.sub(b"...", data))
    return responses[0], responses[1]


def _of_size(size: int) -> bytes:
    start = send(b"N: " + b"x" * 300, b"M: ")
    return start[:-4] + b"y" * (size - len(start)) + start[-4:]


_LONG = send(*[b"N%d: " % number + b"x" * 300 for number in range(4)])
_SHORT = send(b"N: " + b"x" * 300)


#: The TLS records of each case.
RECORDS = {
    "the largest record": [_of_size(1024)],
    "one byte more": [_of_size(1025)],
    "a long record": [_LONG],
    "two records": [_LONG[:1000], _LONG[1000:]],
    "two actions in one record": [_LONG + _LONG],
    "two short actions in one record": [_SHORT * 2],
    "four short actions in one record": [_SHORT * 4],
    "a record for each line": _LONG.splitlines(True),
    "a record for each line of four actions": (_SHORT * 4).splitlines(True),
    "a record for each line of two long actions": (_LONG * 2).splitlines(True),
}


@pytest.mark.parametrize("records", RECORDS.values(), ids=RECORDS)
def test_tls_records(live: Live, records: List[bytes]) -> None:
    with loopback_of(live, tls=server_tls()) as loopback:
        ours = _send_records(loopback.port, records)
    assert ours == _send_records(live.server.tls_port, records)


# ---- generated ----

_LINE_ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\n", b"\r\r\n", b"\0\r\n"])
#: Line lengths near one, two and three times the size of the server's buffer.
_SIZES = st.sampled_from([*range(1019, 1030), *range(2043, 2053), *range(3066, 3076)])
_TAILS = st.sampled_from([b"", b"\r", b"\0", b"Action: Ping", b"ActionID: tail", b"Body: tail"])


def _joined(pieces: List[bytes], most: int) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(pieces), max_size=most).map(b"".join)


def _line(name: bytes, values: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    names = [name] * 6 + [name.upper(), name.swapcase(), name + b" ", b" " + name, b"\t" + name]
    colons = [b": "] * 6 + [b":", b":\t ", b": \x01", b"::", b""]
    return st.builds(
        lambda *parts: b"".join(parts), st.sampled_from(names), st.sampled_from(colons), values
    )


_ACTIONS = st.one_of(
    _line(b"Action", st.sampled_from([b"MessageSend"] * 6 + [
        b"mESSAGEsEND", b"Ping", b"", b"NoSuch %s", b"Challenge", b"Login", b"Logoff",
        b"Events", b"Events",
        b"MessageSend ", b"Ping\0",
    ])),
    st.just(b"Action: MessageSend"),
)  # fmt: skip
#: Not varied further, because the technologies of the real server judge addresses.
_ADDRESSES = st.sampled_from(
    [TO] * 8
    + [b"tO:pjsip:alice", b"To : pjsip:alice", b"To: ", b"To: nosuch:alice", b"To: PJSIP:alice",
       b"Destination: pjsip:sip:bob@127.0.0.1:{phone}", b"Destination: pjsip:alice",
       b"Destination:", b"To: pjsip:alice\0/none", b"Destination: nosuch:alice"]
)  # fmt: skip
_VARIABLES = st.one_of(
    _joined([
        b"X-A", b"x-a", b"X-B", b"X", b"=", b"=", b"=a", b",", b",", b'"', b"\\", b"(", b")", b"[",
        b"]", b" ", b"a", b"\xff", b"\0", b"\r", b";",
    ], 24),
    st.builds(
        lambda count, odd: b",".join([b"X-%d=%d" % (i, i) for i in range(count)] + [odd]),
        st.integers(60, 67), st.sampled_from([b"", b",", b'X-O="a,b"', b"X\\-O=o", b"X-1="]),
    ),
)  # fmt: skip
_OTHERS = st.one_of(
    _line(b"Variable", _VARIABLES),
    _line(b"Body", _joined([b"text", b" ", b"\t", b"\r", b"\0", b"%s", b"\xff", b"\xc3\xa9"], 8)),
    _line(b"Base64Body", _joined(
        [b"QUJD", b"eg==", b"=", b"a", b"-_", b" ", b"\0", b"AA", b"/+", b"\xff", b"\r"], 8)),
    _line(b"ActionID", _joined([b"id", b" ", b"\r", b"\0", b"\xff", b":", b"i" * 60], 5)),
    _line(b"EventMask", st.one_of(
        st.sampled_from(EVENT_MASKS),
        _joined([b"a", b"s", b"user", b"all", b"cdr", b"on", b",", b",", b" ", b"1", b"9"], 8),
    )),
    _line(b"AuthType", st.sampled_from([b"MD5", b"md5", b"", b"SHA"])),
    st.builds(
        lambda name, size, tail: name.ljust(size, b"x") + tail,
        st.sampled_from([b"Long: ", b"Body: ", b"ActionID: ", b"Variable: X-A=", b"x", b"\0"]),
        _SIZES, _TAILS,
    ),
    st.integers(118, 132).map(lambda count: b"\r\n".join([b"N: x"] * count)),
    st.sampled_from([b"", b"\r", b"\0", b"\0x", b" ", b"x", b":", b"\n"]),
)  # fmt: skip


@st.composite
def _composed(draw: st.DrawFn) -> bytes:
    """A MessageSend with odd lines among its own, in any order."""
    lines = [draw(_ACTIONS), draw(_ADDRESSES), *draw(st.lists(_OTHERS, max_size=5))]
    lines = draw(st.permutations(lines)) if draw(st.booleans()) else lines
    return b"".join(line + draw(_LINE_ENDS) for line in [*lines, b""])


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """A stanza of the list with bytes inserted, removed or repeated."""
    raw = draw(st.sampled_from([one.raw for one in STANZAS if one.logged_in]))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(raw)))
        piece = raw[start : start + draw(st.sampled_from([0, 1, 2, 10, 40]))]
        new = draw(st.sampled_from([
            b"", b"\0", b"\r", b"\n", b"\r\n", b" ", b":", b",", b"\\", b'"', piece * 2,
        ]))  # fmt: skip
        raw = raw[:start] + new + raw[start + len(piece) :]
    return raw


@settings(max_examples=EXAMPLES)
@given(raw=st.one_of(st.lists(_composed(), min_size=1, max_size=3).map(b"".join), _mutated()))
def test_generated(pair: Pair, raw: bytes) -> None:
    stanza = Stanza("generated", raw + PING)
    ours = pair.ask_loopback(stanza)
    # The loopback server does not imitate how technologies treat other addresses.
    known = pair.addresses.values()
    assume(all(message.uri in known for message in ours.delivered))
    assert ours == pair.ask_live(stanza)
