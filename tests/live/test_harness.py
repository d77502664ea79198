"""The live harness itself, without the library: a failure here is not the library's fault."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.live.ami import TIMEOUT, connected, logged_in
from tests.live.phone import SipPhone, parse
from tests.live.servers import Live
from tests.live.versions import SEMICOLON_IN_FROM

#: Every byte that a line of AMI can carry, between letters because the server strips whitespace.
ODD_BODY = b"a" + bytes(set(range(1, 256)) - {0x0A, 0x0D}) + b"z"


def test_server_has_the_expected_version_and_technologies(live: Live) -> None:
    # A module that is installed and did not load would skip tests.
    server = live.server
    with connected(server.host, server.port) as ami:
        assert ami.banner.startswith(b"Asterisk Call Manager/")
    assert server.cli("core show version").startswith(f"Asterisk {server.version}")
    (modules,) = re.findall("Module directory: +(.*)", server.cli("core show settings"))
    folder = server.place / modules.lstrip("/") if server.place.is_dir() else Path(modules)
    installed = {"sip": "chan_sip.so", "pjsip": "res_pjsip.so"}
    assert list(server.technologies) == [
        technology for technology, file in installed.items() if (folder / file).exists()
    ]


def test_change_is_in_the_later_releases_of_a_branch_and_in_newer_branches() -> None:
    versions = ["16.28.0", "18.26.1", "18.26.2", "19.9", "20.20.1", "22.4.0", "22.10.1", "23.0.0"]
    found = [version for version in versions if SEMICOLON_IN_FROM.since(version)]
    assert found == ["18.26.2", "20.20.1", "22.10.1", "23.0.0"]
    assert all(SEMICOLON_IN_FROM.before(version) != (version in found) for version in versions)


def test_raw_message_arrives_at_the_phone(live: Live, technology: str) -> None:
    with logged_in(live.server) as ami:
        to = f"To: {technology}:alice".encode()
        response = ami.ask(
            b"Action: MessageSend", to, b"Variable: X-Test=a value", b"Body: " + ODD_BODY
        )
    assert response[b"Message"] == b"Message successfully sent"
    message = live.phone.next_message()
    assert message.method == b"MESSAGE" and message.request_uri.startswith("sip:")
    assert message.body == ODD_BODY and message.content_length == len(ODD_BODY)
    assert message.headers_named("x-test") == [b"a value"]
    assert message.source == ("127.0.0.1", getattr(live.server.ports, technology))


def test_phone_answers_retransmissions_but_keeps_the_message_once() -> None:
    request = (
        b"MESSAGE sip:alice@phone SIP/2.0\r\nv: SIP/2.0/UDP a\r\nv: SIP/2.0/UDP b\r\n"
        b"f: <sip:x>;tag=1\r\nt: <sip:alice>\r\ni: one\r\nCSeq: 1 MESSAGE\r\nl: 3\r\n\r\nabc"
    )
    with SipPhone() as phone, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(TIMEOUT)
        sender.connect((phone.host, phone.port))
        responses = []
        for _ in range(2):
            sender.send(request)
            responses.append(sender.recv(65535))
        message = phone.next_message()
        assert phone.drain() == []
        with pytest.raises(TimeoutError):
            phone.next_message(timeout=0.01)
    assert responses[0] == responses[1]
    assert responses[0] == (
        b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP a\r\nv: SIP/2.0/UDP b\r\nf: <sip:x>;tag=1\r\n"
        b"t: <sip:alice>;tag=phone-%d\r\ni: one\r\nCSeq: 1 MESSAGE\r\n"
        b"Content-Length: 0\r\n\r\n" % phone.port
    )
    assert message._replace(source=("", 0)) == parse(request)
    assert message.header("Content-Length") == b"3"
    assert message.headers_named("Via") == [b"SIP/2.0/UDP a", b"SIP/2.0/UDP b"]
    assert (message.body, message.content_length) == (b"abc", 3)
