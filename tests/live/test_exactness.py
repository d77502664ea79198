"""Generated messages are exact or rejected: the phone receives what was given, or nothing is sent.

``AMICLIENT_LIVE_EXAMPLES`` is the number of messages for each server and technology.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple, Union

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amiclient import ActionFailed
from amiproto import LocalProtocolError
from tests.live.address_oracle import reader_of, seen_at_phone
from tests.live.delivery import Delivery, headers_of, report
from tests.live.phone import SipMessage
from tests.live.servers import Live

EXAMPLES = int(os.environ.get("AMICLIENT_LIVE_EXAMPLES") or 200)

#: A placeholder in addresses for the phone's port.
PORT = "{port}"


class Request(NamedTuple):
    """A message to send; ``to`` and ``destination`` have no technology prefix yet."""

    body: Union[str, bytes]
    variables: Sequence[Tuple[str, str]] = ()
    from_: Optional[str] = None
    to: str = "alice"
    destination: Optional[str] = None

    def arguments(self, technology: str, port: int) -> Dict[str, Any]:
        """Return the arguments of ``send_message``."""
        arguments: Dict[str, Any] = {
            "to": f"{technology}:{self.to}".replace(PORT, str(port)),
            "body": self.body,
            "variables": self.variables,
        }
        if self.from_ is not None:
            arguments["from_"] = self.from_
        if self.destination is not None:
            arguments["to"] = self.to
            arguments["destination"] = f"{technology}:{self.destination}"
        return arguments


# ---- strategies

_INJECTIONS = [
    "\r\n\r\nAction: Ping\r\n\r\n", "hi\r\n\r\nAction: Ping", "X\r\nVariable: X-Injected=1",
    "\nBody: other", "\r\nTo: pjsip:mallory", "\r\n\r\nINVITE sip:x SIP/2.0", "\rX-Injected: 1",
    "\n\n", "a\r\nContent-Length: 0\r\n\r\n",
]  # fmt: skip
_PIECES = [
    "a", "b c", "", " ", "  ", "\t", "\r", "\n", "\r\n", "\x0b", "\x01", "\x1f", "\x7f", "\0",
    '"', "'", ",", ";", ":", "=", "(", ")", "[", "]", "{", "}", "<", ">", "\\", "\\\\", '\\"', "/",
    "%", "%41", "%0d%0a", "$", "${X}", "|", "&", "#", "@", "?", "!", "*", "+", "-", "_", ".", "`",
    "~", "^", "é", "日本語", "e\u0301", "\u200d", "👩\u200d👩\u200d👧", "🇩🇪", "\u2028", "\x85",
    "\xa0", "\ufeff", "\ufffe", "\U0010ffff", "x" * 50, *_INJECTIONS,
]  # fmt: skip
_LINE_PIECES = [piece for piece in _PIECES if not set(piece) & set("\r\n\0")]

#: Any text, sometimes with a lone surrogate.
any_text = st.one_of(
    st.lists(st.sampled_from(_PIECES), max_size=8).map("".join),
    st.text(max_size=40),
    st.text(st.characters(max_codepoint=0x7F), max_size=40),
    st.sampled_from(["\ud800", "a\udcffb", "\udfff"]),
)
line_text = st.one_of(
    st.lists(st.sampled_from(_LINE_PIECES), max_size=8).map("".join),
    st.text(st.characters(blacklist_characters="\r\n\0", blacklist_categories=["Cs"]), max_size=30),
)


@st.composite
def _sized(draw: st.DrawFn) -> str:
    """Draw a text near a limit: it fits Body, or only Base64Body, or neither."""
    size = draw(st.sampled_from([756, 757, 758, 1015, 1016, 1017]))
    head = draw(st.sampled_from(["", " ", "\n", "a\nb", "a\r", "\t", "x\r\n"]))
    filler = draw(st.sampled_from(["x", "é", "日", "👧", '"']))
    count, rest = divmod(size - len(head), len(filler.encode()))
    return head + filler * count + "x" * rest


bodies: st.SearchStrategy[Union[str, bytes]] = st.one_of(
    any_text,
    any_text,
    _sized(),
    st.binary(max_size=60),
    st.binary(max_size=60).map(lambda data: data.translate(None, b"\0")),
    st.lists(st.sampled_from([b"\xff", b"\xc3", b"\xed\xa0\x80", b"a", b"\n", b" ", b"\r"]))
    .map(b"".join),
    st.sampled_from([b"\xff" * 1016, b"\xff" * 1017, b"\n" + b"\x80" * 756, b"\r" * 756]),
)  # fmt: skip

_TOKEN = "abcXYZ019-.!%*_+`'~"
_STANDARD_NAMES = [
    "Subject", "Content-Type", "Date", "Require", "Supported", "Record-Route", "Expires",
    "P-Asserted-Identity", "Content-Encoding", "Content-ID", "Organization", "Priority",
    "Reply-To", "Accept", "Server", "Timestamp", "Event", "MIME-Version", "Allow-Events", "s", "k",
    "e", "r", "b", "x", "PJSIP_TRANSPORT", "Authorization", "User-Agent", "Path", "Privacy",
]  # fmt: skip
_BAD_NAMES = [
    "To", "From", "Via", "Route", "Contact", "Call-ID", "CSeq", "Allow", "Content-Length",
    "Request-URI", "Max-Forwards", "max-forwards", "f", "t", "v", "i", "m", "l", "c", "L", "",
    " ", " X", "X ", "X Y", "X:Y", "X=Y", "X\tY", "é", "X(", "X,Y", '"X"', "X\r\nX-Injected", "X\0",
    "X\\Y", "[X]", "X;Y", "\ud800", "X\x01",
]  # fmt: skip
_CONTENT_TYPES = st.sampled_from(
    ["text/html", "text/plain;charset=x", "application/im-iscomposing+xml", "a~!/b%*", "junk",
     "text/plain ", " text/plain", "multipart/mixed; boundary=\"a\"", "T/P", "text/"]
)  # fmt: skip

good_names = st.one_of(
    st.text(_TOKEN, min_size=1, max_size=12).map(lambda name: f"X-{name}"),
    st.text(_TOKEN, min_size=2, max_size=6),
    st.sampled_from(_STANDARD_NAMES),
)


@st.composite
def _variable(draw: st.DrawFn) -> Tuple[str, str]:
    name = draw(good_names)
    if name == "Content-Type":
        return name, draw(_CONTENT_TYPES)
    if draw(st.integers(0, 9)) == 0:
        # The line is at the limit, or one byte below or above.
        return name, "v" * (1022 - len("Variable: ") - len(name) - 1 + draw(st.integers(-1, 1)))
    return name, draw(line_text.map(lambda text: text or "v"))


@st.composite
def _many(draw: st.DrawFn) -> List[Tuple[str, str]]:
    """Draw many variables, small or so long that the message nearly fills a datagram."""
    count = draw(st.sampled_from([2, 10, 52, 53, 54, 55, 60, 123, 124, 126, 300]))
    size = draw(st.sampled_from([1, 10, 510, 520, 530]))
    value = draw(line_text)
    return [(f"X-{n}", (value + "v" * size)[: size + 1]) for n in range(count)]


@st.composite
def _long(draw: st.DrawFn) -> List[Tuple[str, str]]:
    return [(f"X-{n}", "v" * 1000) for n in range(draw(st.sampled_from([30, 53, 60, 62, 64, 66])))]


variables = st.one_of(
    st.just([]),
    st.lists(_variable(), max_size=4, unique_by=lambda pair: pair[0].lower()),
    st.lists(_variable(), max_size=20, unique_by=lambda pair: pair[0].lower()),
    st.lists(_variable(), max_size=4),
    st.tuples(st.one_of(st.sampled_from(_BAD_NAMES), any_text), line_text).map(lambda pair: [pair]),
    st.tuples(good_names, any_text).map(lambda pair: [pair]),
    _many(),
    _long(),
)

# Addresses of every form are in test_addresses_live; these go together with the other fields.
_USERS = st.one_of(
    st.sampled_from(["door", "d%20o", "a%2Bb", "a%00b", "+49170", "a;b", "ö", "%0d%0aX:%201", ""]),
    st.text("abc019-_.!~*'()&=+$,/?%;:@#\"\\<> ", max_size=8),
    st.integers(250, 258).map("u".__mul__),
)
_NAMES = st.one_of(
    st.sampled_from(["Door Bell", "A, B", "Tür 🚪", "A:B", '"A;B"', "A>", ""]),
    line_text,
    st.integers(250, 258).map("n".__mul__),
)
addresses = st.one_of(
    st.none(),
    st.sampled_from(["Door <sip:door@example.org>", '"Door Bell" <sip:door@example.org>',
                     "door", "sip:door@example.org", "door@example.org", "alice", "", " door",
                     "Door <1234>", "Door <sip:door@[::1]>", "Door <sip:door@e>;tag=1", "a\r\nb"]),
    st.builds("Door <sip:{}@example.org>".format, _USERS),
    st.builds("{} <sip:door@example.org>".format, _NAMES),
    any_text,
)  # fmt: skip

_AT_PHONE = f"127.0.0.1:{PORT}"


@st.composite
def _targets(draw: st.DrawFn) -> Dict[str, Any]:
    """Draw To and Destination; valid ones lead to the one phone."""
    kind = draw(st.sampled_from(["plain"] * 10 + ["host"] * 4 + ["odd"] * 3 + ["both"] * 3))
    if kind == "plain":
        return {}
    user = draw(_USERS)
    if kind == "host":
        to = draw(st.sampled_from([f"{user}@{_AT_PHONE}", f"<sip:{user}@{_AT_PHONE}>"]))
        return {"to": to}
    if kind == "both":
        to = draw(st.sampled_from(["sip:zoe@example.org", "pjsip:alice", "sip:alice", "zoe",
                                   "Zoe <sip:zoe@example.org>", "<sip:zoe@example.org>",
                                   "sip:zoe@example.org:99", "sip:zoe@e;a=b", "", "sip:[::1]",
                                   f"sip:{user}@example.org", "pjsip:sip:zoe@e"]))  # fmt: skip
        return {"to": to, "destination": "alice"}
    to = draw(st.sampled_from([
        f"alice/sip:{user}@{_AT_PHONE}", f"sip:{user}@{_AT_PHONE};x=1", f"PJSIP/{user}@alice",
        "alice\r\n\r\nAction: Ping", "hi\r\n\r\nAction: Ping", "alice\r\nVariable: X-Injected=1",
        "alice\0", "\ud800", "\talice", f"<sip:{_AT_PHONE}>", _AT_PHONE, f"sip:x@{_AT_PHONE}",
        f"x@{_AT_PHONE}?X-Injected=1", f"x@{_AT_PHONE}?Subject=a%0d%0aX-Injected:%201",
        f"alice/sip:x@{_AT_PHONE}?X-Injected=1", f"sip:{_AT_PHONE}?X-Injected=1",
    ]))  # fmt: skip
    return {"to": to}


requests = st.builds(
    lambda body, variables, from_, target: Request(body, variables, from_, **target),
    bodies, variables, addresses, _targets(),
)  # fmt: skip

#: Most parts of a message are harmless, so that one rejected part does not hide the others.
harmless: st.SearchStrategy[Union[str, bytes]] = st.sampled_from(["hi", b"hi"])
mostly_harmless = st.one_of(
    requests,
    bodies.map(Request),
    st.tuples(bodies, variables).map(lambda asked: Request(asked[0], asked[1])),
    st.tuples(harmless, variables).map(lambda asked: Request(asked[0], asked[1])),
    st.builds(lambda body, from_: Request(body, from_=from_), harmless, addresses),
    st.builds(lambda body, target: Request(body, **target), harmless, _targets()),
    st.builds(
        lambda body, from_, target: Request(body, [("X-A", "1")], from_, **target),
        bodies, addresses, _targets(),
    ),
)  # fmt: skip


# ---- the test


def _check(
    live: Live, technology: str, plain: SipMessage, request: Request, message: SipMessage
) -> None:
    """Fail unless a message is exactly what was given.

    :param plain: a message with a body alone, for the headers of the server itself.
    """
    body = request.body.encode() if isinstance(request.body, str) else bytes(request.body)
    assert message.body == body and message.content_length == len(body)
    found = headers_of(message)
    expected = {name: len(values) for name, values in headers_of(plain).items()}
    for name, value in request.variables:
        assert found[name.lower().encode()] == [value.encode()], name
        expected[name.lower().encode()] = 1
    # No header is added, and none of the server's own is missing.
    assert {name: len(values) for name, values in found.items()} == expected
    asked = request.arguments(technology, live.phone.port)
    reader = reader_of(live, technology)
    wanted = reader.wanted(asked["to"], asked.get("from_"), asked.get("destination"))
    assert seen_at_phone(message) == wanted


def test_exact_or_rejected(live: Live, technology: str, pytestconfig: pytest.Config) -> None:
    counts: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    unknown: Set[str] = set()
    with Delivery(live, technology) as delivery:
        delivery.send(to=f"{technology}:alice", body="plain")
        (plain,) = delivery.arrived()

        @settings(max_examples=EXAMPLES, deadline=None, database=None,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(mostly_harmless)
        def check(request: Request) -> None:
            before = delivery.written
            try:
                delivery.send(**request.arguments(technology, live.phone.port))
            except LocalProtocolError as error:
                assert delivery.written == before
                assert delivery.arrived() == []
                counts["rejected, with nothing sent"] += 1
                errors[type(error).__name__] += 1
            except ActionFailed as error:
                assert delivery.arrived() == [], request
                # Only the server knows whether a name or URI exists; the library rejects the rest.
                assert request.to != "alice" and request.destination is None
                counts[f"failed at the server: {error.server_message}"] += 1
                unknown.add(request.to)
            else:
                (message,) = delivery.arrived()
                _check(live, technology, plain, request, message)
                counts["exact"] += 1

        check()
    assert sum(counts.values()) >= EXAMPLES
    lines = [f"Asterisk {live.server.version} {technology}: {sum(counts.values())} messages"]
    lines += [f"{count:8} {what}" for what, count in (counts + errors).most_common()]
    lines += [f"         failed To: {to!r}" for to in sorted(unknown, key=len)[:8]]
    report(pytestconfig, lines)
