"""The harness itself, with bare sockets: what breaks here is not the fault of the library."""

from __future__ import annotations

import socket
import ssl
from contextlib import closing, contextmanager
from typing import Dict, Iterator, List

import pytest

from tests.certificates import OTHER_PEM
from tests.live.asterisk import AsteriskServer
from tests.live.phone import SipMessage, SipPhone, parse
from tests.live.servers import Live

TIMEOUT = 10.0

#: Every byte that a line of AMI can carry, with a letter at either end against stripping.
ODD_BODY = b"a" + bytes(set(range(1, 256)) - {0x0A, 0x0D}) + b"z"


class Ami:
    """One AMI connection, with no more than these tests need."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.stream = connection.makefile("rb")
        self.banner = self.stream.readline()

    def send(self, *lines: bytes) -> None:
        self._connection.sendall(b"".join(line + b"\r\n" for line in (*lines, b"")))

    def stanza(self) -> Dict[bytes, bytes]:
        headers = {}
        for line in iter(self.stream.readline, b"\r\n"):
            assert line, "end of stream"
            name, _, value = line.rstrip(b"\r\n").partition(b":")
            headers[name] = value.strip()
        return headers

    def ask(self, *lines: bytes) -> Dict[bytes, bytes]:
        self.send(*lines)
        while True:
            answer = self.stanza()
            if b"Response" in answer:
                return answer

    def login(self, server: AsteriskServer, user: str, events: bytes = b"off") -> bytes:
        secret = server.users[user].encode()
        return self.ask(
            b"Action: Login",
            b"Username: " + user.encode(),
            b"Secret: " + secret,
            b"Events: " + events,
        )[b"Message"]


@contextmanager
def connected(server: AsteriskServer) -> Iterator[Ami]:
    with socket.create_connection((server.host, server.port), TIMEOUT) as connection:
        ami = Ami(connection)
        with closing(ami.stream):
            yield ami


def send_message(live: Live, technology: str, *lines: bytes) -> SipMessage:
    with connected(live.server) as ami:
        ami.login(live.server, "messenger")
        answer = ami.ask(b"Action: MessageSend", f"To: {technology}:alice".encode(), *lines)
        assert answer[b"Message"] == b"Message successfully sent"
        return live.phone.next_message()


@pytest.fixture(params=["sip", "pjsip"])
def technology(request: pytest.FixtureRequest, live: Live) -> str:
    if request.param not in live.server.technologies:
        pytest.skip(f"Asterisk {live.server.version} has no {request.param}")
    return str(request.param)


def test_banner_and_version(live: Live) -> None:
    with connected(live.server) as ami:
        assert ami.banner.startswith(b"Asterisk Call Manager/")
    assert live.server.cli("core show version").startswith(f"Asterisk {live.server.version}")
    assert live.server.major == int(live.server.version.split(".")[0])
    assert live.server.technologies == (("sip", "pjsip") if live.server.major < 21 else ("pjsip",))


@pytest.mark.parametrize("user", ["messenger", "admin", "reader", "single"])
def test_login(live: Live, user: str) -> None:
    with connected(live.server) as ami:
        assert ami.login(live.server, user) == b"Authentication accepted"


def test_rights(live: Live) -> None:
    send = (b"Action: MessageSend", b"To: pjsip:alice", b"Body: x")
    with connected(live.server) as ami:
        ami.login(live.server, "reader")
        assert ami.ask(*send)[b"Message"] == b"Permission denied"
    with connected(live.server) as ami:
        ami.login(live.server, "messenger")
        answer = ami.ask(b"Action: Command", b"Command: core show version")
        assert answer[b"Message"] == b"Permission denied"


def test_single_login(live: Live) -> None:
    with connected(live.server) as first, connected(live.server) as second:
        assert first.login(live.server, "single") == b"Authentication accepted"
        assert second.login(live.server, "single") == b"Login Already In Use"


def test_body_arrives_byte_for_byte(live: Live, technology: str) -> None:
    message = send_message(live, technology, b"Body: " + ODD_BODY)
    assert message.body == ODD_BODY
    assert message.content_length == len(ODD_BODY)
    assert message.method == b"MESSAGE"
    assert message.request_uri.startswith("sip:")
    assert message.source == ("127.0.0.1", getattr(live.server.ports, technology))


def test_variable_becomes_a_header(live: Live, technology: str) -> None:
    message = send_message(live, technology, b"Variable: X-Test=a value", b"Body: x")
    assert message.headers_named("x-test") == [b"a value"]


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_tls_certificate_is_verified(live: Live, name: str) -> None:
    server = live.server
    context = ssl.create_default_context(cafile=server.ca_file)
    with socket.create_connection((server.host, server.tls_port), TIMEOUT) as plain:
        with context.wrap_socket(plain, server_hostname=name) as connection:
            ami = Ami(connection)
            with closing(ami.stream):
                assert ami.banner.startswith(b"Asterisk Call Manager/")


def test_other_certificate_is_refused(live: Live) -> None:
    server = live.server
    context = ssl.create_default_context(cafile=OTHER_PEM)
    with socket.create_connection((server.host, server.tls_port), TIMEOUT) as plain:
        with pytest.raises(ssl.SSLCertVerificationError):
            context.wrap_socket(plain, server_hostname="localhost")


def test_extensions_give_events(live: Live) -> None:
    with connected(live.server) as ami:
        ami.login(live.server, "admin", events=b"on")
        ami.send(
            b"Action: Originate",
            b"Channel: Local/userevent@capture",
            b"Application: Wait",
            b"Data: 1",
            b"Async: true",
        )
        seen: List[bytes] = []
        while seen.count(b"Hangup") < 2:
            event = ami.stanza()
            seen.append(event.get(b"UserEvent") or event.get(b"Event") or b"")
        assert {b"Odd", b"Blanks", b"Twice"} <= set(seen)


def test_extra_files_and_end_of_stream(live: Live) -> None:
    extra = {
        "extensions.conf": "\n[extra]\nexten = s,1,NoOp(more)\n",
        "manager.conf": "\n[more]\nsecret = more\nread = none\nwrite = message\n",
    }
    with AsteriskServer(live.server.place, phone_port=live.phone.port, extra=extra) as server:
        assert "more" in server.cli("dialplan show extra")
        assert "more" in server.cli("manager show users")
        with connected(server) as ami:
            server.stop()
            assert ami.stream.read() == b""


def test_phone_keeps_retransmissions_once_and_answers_them() -> None:
    request = (
        b"MESSAGE sip:alice@phone SIP/2.0\r\nv: SIP/2.0/UDP a\r\nv: SIP/2.0/UDP b\r\n"
        b"f: <sip:x>;tag=1\r\nt: <sip:alice>\r\ni: one\r\nCSeq: 1 MESSAGE\r\nl: 3\r\n\r\nabc"
    )
    with SipPhone() as phone, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(TIMEOUT)
        sender.connect((phone.host, phone.port))
        answers = []
        for _ in range(2):
            sender.send(request)
            answers.append(sender.recv(65535))
        message = phone.next_message()
        assert phone.drain() == []
        with pytest.raises(TimeoutError):
            phone.next_message(timeout=0.01)
    assert answers[0] == answers[1]
    assert answers[0] == (
        b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP a\r\nv: SIP/2.0/UDP b\r\nf: <sip:x>;tag=1\r\n"
        b"t: <sip:alice>;tag=phone-%d\r\ni: one\r\nCSeq: 1 MESSAGE\r\n"
        b"Content-Length: 0\r\n\r\n" % phone.port
    )
    assert message._replace(source=("", 0)) == parse(request)
    assert message.header("Content-Length") == b"3"
    assert message.headers_named("Via") == [b"SIP/2.0/UDP a", b"SIP/2.0/UDP b"]
    assert (message.body, message.content_length) == (b"abc", 3)
