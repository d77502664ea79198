"""The loopback server against real ones: the same raw bytes, the same answers, the same messages.

The real server is right. Where the loopback server is to differ, its docstring says so, and
``DIFFERENCES`` here says what each does.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import md5
from typing import Callable, Dict, Iterator, List, NamedTuple, Tuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from amiclient.loopback import EventList, LoopbackServer, Output, Received
from amiclient.loopback.versions import VERSIONS
from amiproto import Response
from amiproto._text import to_bytes
from amiproto.messaging._sip import RESERVED_VARIABLES
from tests.certificates import server_tls
from tests.live.phone import SipMessage
from tests.live.servers import Live
from tests.live.stanzas import PING, REFUSED_LOGINS, STANZAS, TO, Stanza, action, login, send

TIMEOUT = 30.0

#: Generated examples for each server; AMICLIENT_LIVE_EXAMPLES asks for more.
EXAMPLES = int(os.environ.get("AMICLIENT_LIVE_EXAMPLES") or 150)

_FAILED = b"Response: Error\r\nActionID: a-1\r\nMessage: Message failed to send.\r\n\r\n"

#: What a real server answers and the loopback server does not, by stanza and server's version.
DIFFERENCES: Dict[Tuple[str, int], bytes] = {
    # The loopback server takes every address, as it knows no phones.
    (f"destination: {name}", version): _FAILED
    for name in ("no address", "no colon", "a URI that is none")
    for version in (16, 22)
}

#: Headers that pjsip writes itself.
_OWN_HEADERS = frozenset(
    b"via from to call-id cseq contact max-forwards user-agent content-type content-length".split()
)
_UNSENT = RESERVED_VARIABLES | {"content-type"}

#: What is another each time.
_VARYING = re.compile(rb"(?<=\nTimestamp: )\d{10,}\.\d{6}(?=\r\n)|(?<=\nChallenge: )\d+(?=\r\n)")


class Delivered(NamedTuple):
    """A message at its destination."""

    uri: bytes
    body: bytes
    #: The lines that variables became, sorted: the server keeps them in the order of a hash.
    lines: Tuple[bytes, ...]


class Outcome(NamedTuple):
    """What became of some bytes."""

    answers: bytes
    delivered: List[Delivered]


class Pair:
    """A real server with its phone, and a loopback server that has the same users."""

    def __init__(self, live: Live, loopback: LoopbackServer) -> None:
        self.live = live
        self.loopback = loopback
        phone = f"127.0.0.1:{live.phone.port}"
        #: The addresses that lead to the phone, and where a message for them arrives.
        self.addresses = {
            "pjsip:alice": f"sip:alice@{phone}".encode(),
            f"pjsip:sip:bob@{phone}": f"sip:bob@{phone}".encode(),
        }
        self._mark = connect(live.server.port)
        with self._mark.makefile("rb") as stream:
            stream.readline()
        _until_blank_line(self._mark, login("admin"))

    def close(self) -> None:
        self._mark.close()

    def answers_live(self, stanza: Stanza) -> bytes:
        """What the real server answers."""
        with connect(self.live.server.port) as connection:
            return _exchange(connection, self._fill(stanza))

    def ask_live(self, stanza: Stanza) -> Outcome:
        """What the real server answers, and what its phone gets."""
        answers = self.answers_live(stanza)
        # The server sends one message after the other, so that all that belong to this stanza
        # come before this one.
        _until_blank_line(self._mark, send(b"Body: end mark", b"Variable: X-Mark=end"))
        arrived: List[SipMessage] = []
        while not arrived or arrived[-1].headers_named("X-Mark") != [b"end"]:
            arrived.append(self.live.phone.next_message())
        return Outcome(answers, [_arrived(message) for message in arrived[:-1]])

    def ask_loopback(self, stanza: Stanza) -> Outcome:
        """The same of the loopback server."""
        earlier = len(self.loopback.messages)
        with connect(self.loopback.port) as connection:
            answers = _exchange(connection, self._fill(stanza))
        return Outcome(answers, [self._kept(one) for one in self.loopback.messages[earlier:]])

    def _fill(self, stanza: Stanza) -> Stanza:
        return stanza._replace(raw=stanza.raw.replace(b"{phone}", b"%d" % self.live.phone.port))

    def _kept(self, message: Received) -> Delivered:
        target = message.to if message.destination is None else message.destination
        uri = self.addresses.get(target, to_bytes(target))
        lines = [
            to_bytes(f"{name}: {value}")
            for name, value in message.variables
            if name.lower() not in _UNSENT
        ]
        return Delivered(uri, message.body, tuple(sorted(lines)))


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), TIMEOUT)


def _arrived(message: SipMessage) -> Delivered:
    lines = message.raw.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    kept = [line for line in lines if line.partition(b":")[0].lower() not in _OWN_HEADERS]
    return Delivered(message.request_uri.encode("latin-1"), message.body, tuple(sorted(kept)))


def _exchange(connection: socket.socket, stanza: Stanza) -> bytes:
    """Everything that a server answers until it closes, without its banner."""
    with connection.makefile("rb") as stream:
        stream.readline()
        if stanza.logged_in:
            connection.sendall(login("messenger"))
            _stanza(stream.readline)
        lines: List[bytes] = []
        # A server that closes with something unread resets the connection: then, or while there
        # is more to send.
        with suppress(ConnectionError):
            connection.sendall(stanza.raw)
        if not stanza.closes:
            # The server carries out what it has before it sees the end.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            lines.extend(stream)
    return _VARYING.sub(b"...", b"".join(lines))


def _until_blank_line(connection: socket.socket, raw: bytes) -> bytes:
    connection.sendall(raw)
    with connection.makefile("rb") as stream:
        return _stanza(stream.readline)


def _stanza(readline: Callable[[], bytes]) -> bytes:
    lines: List[bytes] = []
    while lines[-1:] != [b"\r\n"]:
        lines.append(readline())
        assert lines[-1], "end of stream"
    return b"".join(lines)


def _version(live: Live) -> int:
    """The newest version that the loopback server behaves as and that is not newer than this."""
    return max(version for version in VERSIONS if version <= live.server.major)


@pytest.fixture(scope="module")
def pair(live: Live) -> Iterator[Pair]:
    server = live.server
    with LoopbackServer(
        users=server.users, technologies=server.technologies, version=_version(live)
    ) as loopback:
        both = Pair(live, loopback)
        try:
            yield both
        finally:
            both.close()


def test_names_of_stanzas_are_unique() -> None:
    names = [stanza.name for stanza in STANZAS + REFUSED_LOGINS]
    assert sorted(set(names)) == sorted(names)
    assert {name for name, _ in DIFFERENCES} <= set(names)


@pytest.mark.parametrize("stanza", STANZAS, ids=lambda stanza: stanza.name)
def test_stanza(pair: Pair, stanza: Stanza) -> None:
    real, ours = pair.ask_live(stanza), pair.ask_loopback(stanza)
    expected = DIFFERENCES.get((stanza.name, pair.live.server.major))
    if expected is None:
        assert ours == real
    else:
        assert real == Outcome(expected, [])
        assert ours != real, "not a difference any more"


def test_refused_logins(pair: Pair) -> None:
    # All at once, as each takes its second.
    with ThreadPoolExecutor(len(REFUSED_LOGINS)) as pool:
        real = list(pool.map(pair.answers_live, REFUSED_LOGINS))
    for stanza, answers in zip(REFUSED_LOGINS, real):
        assert answers.count(b"Authentication failed") == 1, stanza.name
        assert pair.ask_loopback(stanza) == Outcome(answers, []), stanza.name


def test_login_by_challenge(pair: Pair) -> None:
    secret = pair.live.server.users["messenger"]

    def talk(port: int) -> List[bytes]:
        transcript = []
        with connect(port) as connection, connection.makefile("rb") as stream:
            stream.readline()

            def ask(*lines: bytes) -> bytes:
                connection.sendall(action(*lines))
                answer = _stanza(stream.readline)
                transcript.append(_VARYING.sub(b"...", answer))
                return answer

            def challenge() -> bytes:
                answer = ask(b"Action: Challenge", b"AuthType: MD5")
                return answer.partition(b"Challenge: ")[2].rstrip()

            first = challenge()
            assert first.isdigit() and challenge() == first
            key = md5(first + secret.encode()).hexdigest().encode()
            ask(b"Action: Login", b"AuthType: mD5", b"Username: MESSENGER", b"Key: " + key)
            assert challenge() == first
            ask(b"Action: Ping")
        with connect(port) as connection, connection.makefile("rb") as stream:
            stream.readline()
            key = md5(challenge() + secret.encode()).hexdigest().upper().encode()
            ask(b"Action: Login", b"AuthType: MD5", b"Username: messenger", b"Key: " + key)
            assert stream.read() == b""
        return transcript

    real = talk(pair.live.server.port)
    assert real == talk(pair.loopback.port)
    assert b"Authentication accepted" in real[2] and b"Authentication failed" in real[-1]


# ---- what differs between versions ----


def _session(port: int, *actions: bytes) -> List[bytes]:
    """The banner, and what is said to each action of a user who may do all."""
    with connect(port) as connection, connection.makefile("rb") as stream:
        said = [stream.readline()]
        connection.sendall(login("admin"))
        _stanza(stream.readline)
        for raw in actions:
            connection.sendall(raw + PING)
            said.append(b"")
            while not said[-1].endswith(b"\r\nPing: Pong\r\n"):
                said[-1] += stream.readline()
            said[-1] = said[-1].rpartition(b"Response: ")[0]
            _stanza(stream.readline)
    return said


def test_banner_commands_and_lists(pair: Pair) -> None:
    commands = [
        action(b"Action: Command", b"ActionID: c", b"Command: " + text)
        for text in (b"no such command", b"core show uptime seconds")
    ]
    listing = action(b"Action: CoreShowChannels", b"ActionID: l")
    real = _session(pair.live.server.port, *commands, listing)
    # The words are those of the real server, and what stands around them is the version's.
    for wire, refused in zip(real[1:3], (True, False)):
        lines = Response.from_wire(wire).output
        pair.loopback.script(Output(lines, refused), action="Command")
    pair.loopback.script(EventList([], "Channels will follow"), action="CoreShowChannels")
    ours = _session(pair.loopback.port, *commands, listing)
    assert ours[1:] == real[1:]
    if pair.live.server.major in VERSIONS:
        assert ours[0].partition(b".")[0] == real[0].partition(b".")[0]


def _records(port: int, pieces: List[bytes]) -> Tuple[bytes, bytes]:
    """What is said to records of TLS until a pause, and then to another record."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with connect(port) as plain, context.wrap_socket(plain) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(login("messenger"))
        while not connection.recv(65536).endswith(b"accepted\r\n\r\n"):
            pass
        connection.settimeout(0.3)
        said: List[bytes] = []
        for part in (pieces, [PING]):
            for piece in part:
                connection.sendall(piece)
            data = b""
            with suppress(socket.timeout):
                for more in iter(lambda: connection.recv(65536), b""):
                    data += more
            said.append(_VARYING.sub(b"...", data))
    return said[0], said[1]


def _of_size(size: int) -> bytes:
    start = send(b"N: " + b"x" * 300, b"M: ")
    return start[:-4] + b"y" * (size - len(start)) + start[-4:]


_LONG = send(*[b"N%d: " % number + b"x" * 300 for number in range(4)])
_SHORT = send(b"N: " + b"x" * 300)


#: What is written over TLS, a record for each piece.
WRITES = {
    "the largest record": [_of_size(1024)],
    "a byte more": [_of_size(1025)],
    "a long record": [_LONG],
    "two records": [_LONG[:1000], _LONG[1000:]],
    "two actions in one": [_LONG + _LONG],
    "two short ones in one": [_SHORT * 2],
    "four short ones in one": [_SHORT * 4],
    "a record for each line": _LONG.splitlines(True),
    "of four actions": (_SHORT * 4).splitlines(True),
    "of two long actions": (_LONG * 2).splitlines(True),
}


@pytest.mark.parametrize("pieces", WRITES.values(), ids=WRITES)
def test_records_of_tls(live: Live, pieces: List[bytes]) -> None:
    server = live.server
    with LoopbackServer(
        users=server.users, technologies=server.technologies, version=_version(live),
        tls=server_tls(),
    ) as loopback:  # fmt: skip
        ours = _records(loopback.port, pieces)
    assert ours == _records(server.tls_port, pieces)


# ---- generated ----

_EOF_ERRORS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\n", b"\r\r\n", b"\0\r\n"])
#: Where something happens to a line: the server's buffer, and twice and thrice as much.
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
        b"MessageSend ", b"Ping\0",
    ])),
    st.just(b"Action: MessageSend"),
)  # fmt: skip
#: Never changed any further: which address a real server takes is up to its technologies.
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
    return b"".join(line + draw(_EOF_ERRORS) for line in [*lines, b""])


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """A stanza of the list, with bytes put in, left out or doubled."""
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
    # What else a real server's technologies do with an address is not for the loopback server.
    known = pair.addresses.values()
    assume(all(message.uri in known for message in ours.delivered))
    assert ours == pair.ask_live(stanza)
