"""Messages to XMPP: exact or refused, by a real Asterisk and a real XMPP server."""

from __future__ import annotations

import itertools
import time
from base64 import b64encode
from typing import Any, Dict, Iterator, List, NamedTuple

import pytest

from amiproto import LocalProtocolError, MessageSend
from tests.live.asterisk import AsteriskServer
from tests.live.delivery import TIMEOUT, Delivery, send_raw, wire
from tests.live.servers import Live
from tests.live.xmpp import HOST, Prosody, XmppClient, asterisk_extra, find_prosody

_TO = f"xmpp:bob@{HOST}"
_FROM = "xmpp:account"

#: Seconds until Asterisk is logged in; it tries again by a timer of its own.
_LOGIN_TIMEOUT = 60.0

_EXACT = [
    "Someone is at the door",
    "one\ntwo\n\nthree\n",
    "   three blanks in front, one behind ",
    "\n in front",
    "\ttabs\tall\tover\t",
    "<&>\"'",
    "</body></message><message to='mallory'/>",
    "&amp; &#10; &lt;", "]]>", "<!-- -->", "<![CDATA[x]]>",
    "呼び鈴 🔔🚪 👩\u200d👧 e\u0301",
    "\x7f \x85 \u2028 \xa0 \ufeff \ufffd \U0010ffff",
    "%s %n $ \\ ' , ; ( ) [ ]",
    "x" * 1016,
    "\n" + "<" * 755,
]

#: What MessageSend refuses for xmpp and nothing else; the arguments besides To.
REFUSALS: List[Dict[str, Any]] = [
    {"from_": None},
    {"from_": _FROM, "variables": {"X": "1"}},
    {"from_": _FROM, "to": "sip:zoe@example.org", "destination": _TO},
    {"from_": _FROM, "body": "a\x01b"},
    {"from_": _FROM, "body": b"a\xffb"},
]

_numbers = itertools.count()


class Xmpp(NamedTuple):
    """An Asterisk that is logged in, and the client its messages go to."""

    live: Live
    bob: XmppClient

    def await_login(self) -> None:
        """Wait until Asterisk is logged in at the XMPP server."""
        deadline = time.monotonic() + _LOGIN_TIMEOUT
        while "Connected" not in self.live.server.cli("xmpp show connections"):
            assert time.monotonic() < deadline, self.live.server.log_tail()
            time.sleep(0.05)

    def received(self, delivery: Delivery) -> List[str]:
        """All that came up to now."""
        marker = f"marker {next(_numbers)}"
        delivery.send(to=_TO, body=marker, from_=_FROM)
        return self.before(marker)

    def before(self, marker: str) -> List[str]:
        """What came in front of the marker."""
        return list(iter(lambda: self.bob.next_body(TIMEOUT), marker))


@pytest.fixture(scope="module")
def xmpp(live: Live, request: pytest.FixtureRequest) -> Iterator[Xmpp]:
    program = find_prosody()
    if program is None:
        reason = "there is no prosody; install the Debian package prosody"
        if request.config.getoption("--live") == "auto":
            pytest.skip(reason)
        pytest.fail(reason, pytrace=False)
    with Prosody(program) as prosody:
        extra = asterisk_extra(prosody.port)
        place, port = live.server.place, live.phone.port
        with AsteriskServer(place, phone_port=port, extra=extra) as server:
            if "xmpp" not in server.technologies:
                pytest.skip(f"Asterisk {server.version} has no res_xmpp")
            with XmppClient(prosody.port, "bob") as bob:
                found = Xmpp(Live(server, live.phone), bob)
                found.await_login()
                yield found


@pytest.mark.parametrize("text", _EXACT, ids=range(len(_EXACT)))
def test_text_arrives_exactly(xmpp: Xmpp, text: str) -> None:
    with Delivery(xmpp.live, "pjsip") as delivery:
        delivery.send(to=_TO, body=text, from_=_FROM)
        assert xmpp.received(delivery) == [text]


@pytest.mark.parametrize(
    "arguments",
    [
        *REFUSALS,
        *[{"from_": _FROM, "body": f"a{char}b"} for char in "\r\x0b\x0c\x1f\ufffe\uffff\0"],
        {"from_": _FROM, "body": "a\ud800b"},
        {"from_": _FROM, "body": b"\xed\xa0\x80"},
        {"from_": _FROM, "body": "<" * 1017},
    ],
    ids=str,
)
def test_refused_before_a_byte_leaves(xmpp: Xmpp, arguments: Dict[str, Any]) -> None:
    with Delivery(xmpp.live, "pjsip") as delivery:
        before = delivery.written
        with pytest.raises(LocalProtocolError):
            delivery.send(**{"to": _TO, "body": "x", **arguments})
        assert delivery.written == before
        assert xmpp.received(delivery) == []


def test_carriage_return_would_become_a_line_feed(xmpp: Xmpp) -> None:
    send_raw(xmpp.live, "pjsip", _raw(b"a\rb\r\nc"))
    with Delivery(xmpp.live, "pjsip") as delivery:
        assert xmpp.received(delivery) == ["a\nb\nc"]


def test_variables_would_be_lost(xmpp: Xmpp) -> None:
    raw = send_raw(xmpp.live, "pjsip", _raw(b"text", "Variable: X-Priority=high"))
    assert raw.answers == (b"Message successfully sent",)
    assert xmpp.bob.next_body(TIMEOUT) == "text"


def test_to_beside_destination_would_be_lost(xmpp: Xmpp) -> None:
    lines = [f"Destination: {_TO}", "To: xmpp:zoe@example.org", f"From: {_FROM}", "Body: text"]
    raw = send_raw(xmpp.live, "pjsip", wire(["Action: MessageSend", *lines]))
    assert raw.answers == (b"Message successfully sent",)
    assert xmpp.bob.next_body(TIMEOUT) == "text"


def test_message_without_from_would_fail(xmpp: Xmpp) -> None:
    lines = ["Action: MessageSend", f"To: {_TO}", "Body: text"]
    raw = send_raw(xmpp.live, "pjsip", wire(lines))
    assert raw.answers == (b"Message failed to send.",)
    with Delivery(xmpp.live, "pjsip") as delivery:
        assert xmpp.received(delivery) == []


@pytest.mark.parametrize(
    "text", [b"a\x01b", b"a\xffb", b"\xed\xa0\x80", b"\xef\xbf\xbe", b"\x0c"], ids=bytes.hex
)
def test_what_is_no_xml_would_break_the_stream(xmpp: Xmpp, text: bytes) -> None:
    """The server says Success; the message is lost, and Asterisk is thrown out for a while."""
    server = xmpp.live.server
    raw = send_raw(xmpp.live, "pjsip", _raw(text))
    assert raw.answers == (b"Message successfully sent",)
    deadline = time.monotonic() + TIMEOUT
    while "Connected" in server.cli("xmpp show connections"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    # It comes back by itself, but waits twice as long each time.
    server.stop()
    server.start()
    xmpp.await_login()
    with Delivery(xmpp.live, "pjsip") as delivery:
        assert xmpp.received(delivery) == []


def _raw(text: bytes, *lines: str) -> bytes:
    encoded = b64encode(text).decode()
    head = ["Action: MessageSend", f"To: {_TO}", f"From: {_FROM}"]
    return wire([*head, *lines, f"Base64Body: {encoded}"])


def test_the_message_itself() -> None:
    message = MessageSend(_TO, " <&>\n", from_=_FROM)
    assert (message.technology, message.text) == ("xmpp", " <&>\n")
