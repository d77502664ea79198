"""Nothing is refused without need: what each refusal of MessageSend prevents, on real servers.

Each row names what is refused, the lines that would have been sent, and the damage they do.
"""

from __future__ import annotations

import ast
import re
from base64 import b64encode
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Set, Tuple, Union

import pytest

import amiproto.messaging
from amiproto import Banner, LocalProtocolError, MessageSend, escape_variable
from amiproto.messaging.sip_headers import COMPACT_VARIABLES, DROPPED_VARIABLES
from tests.live.delivery import Raw, headers_of, send_raw, wire
from tests.live.phone import SipMessage
from tests.live.servers import Live
from tests.live.test_xmpp_live import REFUSALS as XMPP_REFUSALS

SIP = ("sip", "pjsip")
BOTH = (16, 22)

_TOKEN = re.compile(rb"[A-Za-z0-9\-.!%*_+`'~]+")


class Row(NamedTuple):
    """One refusal."""

    name: str
    #: Arguments of MessageSend; ``to`` is the technology's alice unless it is here.
    arguments: Dict[str, Any]
    #: The lines after Action and To; with ``To`` or ``Destination`` among them, those alone.
    lines: Tuple[Union[str, bytes], ...]
    #: Whether the damage is done.
    damage: Callable[[Raw], bool]
    technologies: Tuple[str, ...] = SIP
    #: Major versions of the servers that do it; on others the refusal is for the sake of these.
    versions: Tuple[int, ...] = BOTH


def _only(raw: Raw) -> SipMessage:
    assert len(raw.messages) == 1, raw
    return raw.messages[0]


def _lost(raw: Raw) -> bool:
    """Success, and nothing at the phone."""
    return raw.answers == (b"Message successfully sent",) and not raw.messages


def _unknown(raw: Raw) -> bool:
    """The server does not say which technology it missed."""
    return raw.answers == (b"Message technology not found.",) and not raw.messages


def _failed(raw: Raw) -> bool:
    """An error in the server's words, which do not say what was wrong."""
    return raw.answers[0] != b"Message successfully sent" and not raw.messages


def _body_is_not(text: bytes) -> Callable[[Raw], bool]:
    return lambda raw: all(message.body != text for message in raw.messages)


def _from_is(pattern: str) -> Callable[[Raw], bool]:
    compiled = re.compile(pattern.encode())
    return lambda raw: compiled.match(_only(raw).header("From") or b"") is not None


def _to_is(pattern: str) -> Callable[[Raw], bool]:
    compiled = re.compile(pattern.encode())
    return lambda raw: compiled.match(_only(raw).header("To") or b"") is not None


def _values(name: str, *values: bytes) -> Callable[[Raw], bool]:
    return lambda raw: headers_of(_only(raw)).get(name.lower().encode(), []) == list(values)


def _no_token(raw: Raw) -> bool:
    """The message has a header whose name no phone can read."""
    return any(not _TOKEN.fullmatch(name) for name, _ in _only(raw).headers)


def _undecodable(raw: Raw) -> bool:
    """What arrives is no text at all."""
    try:
        _only(raw).raw.decode()
    except UnicodeDecodeError:
        return True
    return False


def _pair(name: str, value: str) -> Row:
    """A variable that is dropped: the phone sees no header of that value."""
    return Row(
        f"variable {name}", {"variables": {name: value}}, (f"Variable: {name}={value}",),
        lambda raw: all(found != value.encode() for _, found in _only(raw).headers),
    )  # fmt: skip


def _two(name: str, long_name: str) -> Row:
    return Row(
        f"variable {name}", {"variables": {name: "evil"}}, (f"Variable: {name}=evil",),
        lambda raw: len(_only(raw).headers_named(long_name)) == 2,
        # 22 sends no Contact with a MESSAGE, but the alias is one for all.
        versions=(16,) if name == "m" else BOTH,
    )  # fmt: skip


def _from(name: str, from_: str, pattern: str, technology: str, *versions: int) -> Row:
    """A From that arrives as something else."""
    return Row(
        f"From {name}", {"from_": from_}, (f"From: {from_}",), _from_is(pattern), (technology,),
        versions or BOTH,
    )


def _target(name: str, target: str, uri: str, technology: str) -> Row:
    """A target that leads to the phone, under another request line than the one written."""
    to = f"{technology}:{target}"

    def damage(raw: Raw) -> bool:
        # The port is known only by the message itself.
        (message,) = raw.messages
        port = re.findall(r":([0-9]{2,})", message.request_uri)[-1]
        return message.request_uri == uri.replace("{port}", port)

    return Row(f"To {name}", {"to": to}, (f"To: {to}",), damage, (technology,))


def _sip_to(name: str, to: str, pattern: str) -> Row:
    """A To that leads to the phone, and whose URI is another than the one written."""
    return Row(f"To {name}", {"to": to}, (f"To: {to}",), _to_is(pattern), ("sip",))


_LONG = "b" * 1017
_BROKEN = "a\n" + "b" * 756
_DATAGRAM = {f"X-{number}": "v" * 1000 for number in range(66)}
# Two of them do not fit one line, and all of them would fit a datagram.
_MANY = {f"X-{number}": "v" * 500 for number in range(100, 226)}
_SURROGATE = b"\xed\xa0\x80"
_DEFAULT = r"<sip:alice@127\.0\.0\.1>;tag"
_ZOE = "<sip:zoe@example.org>"
#: The phone, as an address in a To line.
_AT = "127.0.0.1:{port}"


def _variable_lines(variables: Dict[str, str]) -> Tuple[str, ...]:
    return tuple(f"Variable: {name}={escape_variable(value)}" for name, value in variables.items())


ROWS = [
    # ---- the body
    Row("NUL in the body", {"body": "ab\0cd"},
        (b"Base64Body: " + b64encode(b"ab\0cd"),), lambda raw: _only(raw).body == b"ab"),
    Row("body of 1017 bytes", {"body": _LONG}, (f"Body: {_LONG}",), _body_is_not(_LONG.encode())),
    Row("body of 758 bytes and a line end", {"body": _BROKEN},
        (b"Base64Body: " + b64encode(_BROKEN.encode()).rstrip(b"="),),
        _body_is_not(_BROKEN.encode())),
    Row("body with a surrogate", {"body": "a\ud800"}, (b"Body: a" + _SURROGATE,), _undecodable),
    # ---- variables
    Row("variable empty", {"variables": {"X": ""}}, ("Variable: X=",), _values("X")),
    Row("variable twice", {"variables": [("X", "1"), ("x", "2")]},
        ("Variable: X=1", "Variable: x=2"), _values("X", b"2")),
    Row("variable without a name", {"variables": {"": "v"}}, ("Variable: =v",),
        lambda raw: all(value != b"v" for _, value in _only(raw).headers)),
    Row("equals sign in a name", {"variables": {"X=Y": "v"}}, ("Variable: X=Y=v",),
        _values("X", b"Y=v")),
    Row("control character in a name", {"variables": {"X\x01": "v"}}, ("Variable: X\x01=v",),
        _no_token),
    Row("blank in a name", {"variables": {"X Y": "v"}}, ("Variable: X Y=v",), _no_token),
    Row("colon in a name", {"variables": {"X:Y": "v"}}, ("Variable: X:Y=v",),
        _values("X", b"Y: v")),
    Row("LF in a value", {"variables": {"X": "a\nb"}}, ("Variable: X=a\nb",), _values("X", b"a")),
    Row("NUL in a value", {"variables": {"X": "a\0b"}}, ("Variable: X=a\0b",), _values("X", b"a")),
    # Exact, and yet a line end to many a phone; RFC 3261 allows none in a header.
    Row("CR in a value", {"variables": {"X": "a\rX-Injected: b"}},
        ("Variable: X=a\rX-Injected: b",), lambda raw: b"\rX-Injected: b\r\n" in _only(raw).raw),
    Row("surrogate in a value", {"variables": {"X": "a\udcff"}}, (b"Variable: X=a\xff",),
        _undecodable),
    *[_pair(name, "Evil") for name in sorted(DROPPED_VARIABLES)],
    *[_two(*pair) for pair in sorted(COMPACT_VARIABLES.items())],
    Row("variable User-Agent", {"variables": {"User-Agent": "Mine"}},
        ("Variable: User-Agent=Mine",),
        lambda raw: len(_only(raw).headers_named("User-Agent")) == 2, ("sip",)),
    Row("variable Max-Forwards", {"variables": {"Max-Forwards": "70"}},
        ("Variable: Max-Forwards=70",),
        lambda raw: b"69" in headers_of(_only(raw))[b"max-forwards"]),
    Row("variable Max-Forwards of 0", {"variables": {"Max-Forwards": "0"}},
        ("Variable: Max-Forwards=0",),
        lambda raw: _failed(raw) or b"-1" in headers_of(_only(raw))[b"max-forwards"]),
    Row("variable after a bad Max-Forwards", {"variables": {"Max-Forwards": "x", "X": "1"}},
        ("Variable: Max-Forwards=x", "Variable: X=1"),
        lambda raw: _failed(raw) or _values("X")(raw)),
    Row("Content-Type with a parameter", {"variables": {"Content-Type": "text/html;charset=x"}},
        ("Variable: Content-Type=text/html;charset=x",), _values("Content-Type", b"text/html"),
        ("pjsip",)),
    Row("Content-Type that is none", {"variables": {"Content-Type": "junk"}},
        ("Variable: Content-Type=junk",), _values("Content-Type", b"text/plain"), ("pjsip",)),
    Row("54 variables", {"variables": {f"X-{number}": "v" for number in range(54)}},
        _variable_lines({f"X-{number}": "v" for number in range(54)}),
        lambda raw: _only(raw).content_length is None, ("sip",)),
    Row("more than a datagram holds", {"variables": _DATAGRAM}, _variable_lines(_DATAGRAM), _lost,
        ("pjsip",)),
    Row("129 lines", {"variables": _MANY}, _variable_lines(_MANY),
        lambda raw: _failed(raw) and b"Too many lines" in raw.answers[0], ("pjsip",)),
    # ---- addresses, as AMI carries them
    Row("empty To", {"to": ""}, ("To: ",), _failed),
    Row("empty From", {"from_": ""}, ("From: ",), lambda raw: b"<sip:" in _from_of(raw)),
    # Exact, and yet no header that RFC 3261 knows.
    Row("control character in From", {"from_": "A\x01B <sip:d@e>"}, ("From: A\x01B <sip:d@e>",),
        lambda raw: b"\x01" in _from_of(raw)),
    Row("tab in front of From", {"from_": "\tA <sip:d@e>"}, ("From: \tA <sip:d@e>",),
        _from_is('"A" <')),
    Row("line end in From", {"from_": "A\r\nBody: evil"}, ("From: A\r\nBody: evil", "Body: x"),
        lambda raw: _only(raw).body == b"evil"),
    Row("blank in front of From", {"from_": ' "A" <sip:d@e>'}, ('From:  "A" <sip:d@e>',),
        _from_is('"A" <')),
    Row("surrogate in From", {"from_": "A\ud800 <sip:d@e>"},
        (b"From: A" + _SURROGATE + b" <sip:d@e>",), _undecodable),
    # ---- targets that name no technology
    Row("no technology", {"to": "alice"}, ("To: alice",), _unknown),
    Row("a slash for the colon", {"to": "pjsip/alice"}, ("To: pjsip/alice",), _unknown, ("pjsip",)),
    Row("capitals", {"to": "PJSIP:alice"}, ("To: PJSIP:alice",), _unknown, ("pjsip",)),
    Row("capitals", {"to": "SIP:alice"}, ("To: SIP:alice",), _unknown, ("sip",)),
    Row("nothing after the technology", {"to": "pjsip:"}, ("To: pjsip:",), _failed, ("pjsip",)),
    Row("nothing after the technology", {"to": "sip:"}, ("To: sip:",), _failed, ("sip",)),
    # ---- what pjsip does to addresses
    _target("endpoint and a domain", "alice@example.org", "sip:alice@127.0.0.1:{port}", "pjsip"),
    _target("endpoint and an @", "alice@", "sip:alice@127.0.0.1:{port}", "pjsip"),
    _target("%25 in the user", f"sip:a%2541b@{_AT}", f"sip:a%41b@{_AT}", "pjsip"),
    _target("%3B in the user", f"sip:a%3Bb@{_AT}", f"sip:a;b@{_AT}", "pjsip"),
    _target("%2B after an endpoint", f"alice/sip:a%2Bb@{_AT}", f"sip:a+b@{_AT}", "pjsip"),
    _target("%26 before an endpoint", "PJSIP/a%26b@alice", f"sip:a&b@{_AT}", "pjsip"),
    _target("# in the user", f"sip:a#b@{_AT}", f"sip:a%23b@{_AT}", "pjsip"),
    _target("%24 in the password", f"sip:a:b%24@{_AT}", f"sip:a:b$@{_AT}", "pjsip"),
    _target("%5B in a parameter", f"sip:a@{_AT};x=%5B", f"sip:a@{_AT};x=[", "pjsip"),
    _target("method", f"sip:a@{_AT};method=INVITE", f"sip:a@{_AT}", "pjsip"),
    _target("two transports", f"sip:a@{_AT};transport=udp;transport=udp",
            f"sip:a@{_AT};transport=udp", "pjsip"),
    _target("empty value", f"sip:a@{_AT};x=", f"sip:a@{_AT};x", "pjsip"),
    _target("lr with a value", f"sip:a@{_AT};lr=on", f"sip:a@{_AT};lr", "pjsip"),
    _target("capitals in lr", f"sip:a@{_AT};LR", f"sip:a@{_AT};lr", "pjsip"),
    _target("order of parameters", f"sip:a@{_AT};x=1;user=phone",
            f"sip:a@{_AT};user=phone;x=1", "pjsip"),
    _target("quote in front of a parameter", f"sip:a@{_AT};x=%22", f'sip:a@{_AT};x="', "pjsip"),
    _target("blank in a parameter", f'sip:a@{_AT};x="a b"', f'sip:a@{_AT};x="a b"', "pjsip"),
    _target("blank in user", f"sip:a@{_AT};user=a%20b", f"sip:a@{_AT};user=a b", "pjsip"),
    _target("scheme in capitals", f"SIP:bob@{_AT}", f"sip:SIP:bob@{_AT}", "pjsip"),
    _target("scheme in capitals after an endpoint", f"alice/SIP:bob@{_AT}",
            f"sip:SIP:bob@{_AT}", "pjsip"),
    _target("zero in front of the port", "sip:a@127.0.0.1:0{port}", f"sip:a@{_AT}", "pjsip"),
    _target("brackets around no IPv6", "[127.0.0.1]:{port}", f"sip:{_AT}", "pjsip"),
    Row("another transport", {"to": f"pjsip:sip:a@{_AT};transport=tcp"},
        (f"To: pjsip:sip:a@{_AT};transport=tcp",), _lost, ("pjsip",), (22,)),
    Row("sips without TLS", {"to": f"pjsip:sips:a@{_AT}"}, (f"To: pjsip:sips:a@{_AT}",), _lost,
        ("pjsip",), (22,)),
    Row("endpoint in the name of To", {"to": f"pjsip:alice/Bob <sip:b@{_AT}>",
        "destination": f"pjsip:alice/Bob <sip:b@{_AT}>"},
        (f"To: pjsip:alice/Bob <sip:b@{_AT}>", f"Destination: pjsip:alice/Bob <sip:b@{_AT}>"),
        _to_is('"alice/Bob" <'), ("pjsip",), (16,)),
    Row("capitals in To beside Destination", {"to": "SIP:zoe@e", "destination": "pjsip:alice"},
        ("To: SIP:zoe@e", "Destination: pjsip:alice"), _to_is("<sip:alice@"), ("pjsip",), (22,)),
    Row("%25 in To beside Destination", {"to": "sip:100%25@e", "destination": "pjsip:alice"},
        ("To: sip:100%25@e", "Destination: pjsip:alice"), _to_is("<sip:100%@e>"), ("pjsip",)),
    _from("%25 in the user", "sip:a%2541@e.org", "<sip:a%41@e.org>", "pjsip"),
    _from("brackets around no IPv6", "sip:a@[1.2.3.4]", "<sip:a@1.2.3.4>", "pjsip"),
    Row("blank after To", {"to": "pjsip:alice "}, ("To: pjsip:alice ",), _lost, ("pjsip",)),
    Row("headers in To", {"to": f"pjsip:sip:a@{_AT}?X-A=1%0d%0aX-Injected:%201"},
        (f"To: pjsip:sip:a@{_AT}?X-A=1%0d%0aX-Injected:%201",), _values("X-Injected", b"1"),
        ("pjsip",)),
    Row("name in To beside Destination", {"to": f"Zoe {_ZOE}", "destination": "pjsip:alice"},
        (f"To: Zoe {_ZOE}", "Destination: pjsip:alice"), _to_is("<sip:alice@"), ("pjsip",), (22,)),
    Row("port in To beside Destination", {"to": "sip:zoe@e:99", "destination": "pjsip:alice"},
        ("To: sip:zoe@e:99", "Destination: pjsip:alice"), _to_is("<sip:zoe@e>"), ("pjsip",)),
    Row("no URI in To beside Destination", {"to": "zoe", "destination": "pjsip:alice"},
        ("To: zoe", "Destination: pjsip:alice"), _to_is("<sip:alice@"), ("pjsip",)),
    _from("port", "<sip:d@e:99>", "<sip:d@e>", "pjsip"),
    _from("parameter", "<sip:d@e;user=phone>", r"<sip:(%3csip%3a)?d@e>", "pjsip"),
    _from("headers", "<sip:d@e?Subject=x>", "<sip:d@e>", "pjsip"),
    _from("password", "<sip:d:p@e>", "<sip:d@e>", "pjsip"),
    _from("sips", "<sips:d@e>", "<sip:d@e>", "pjsip"),
    _from("tel", "tel:5", _DEFAULT, "pjsip"),
    _from("semicolon in the name", '"A;B" <sip:d@e>', "(?!\"A;B\")", "pjsip", 16),
    _from("semicolon in the user", "sip:a;b@e", "<sip:a>", "pjsip", 16),
    _from("colon in a bare name", "A:B <sip:d@e>", "<sip:A%3aB%20%3csip%3ad@e>>", "pjsip"),
    _from("quotes in a bare name", 'A "x" <sip:d@e>', '(?!"A \\\\"x\\\\"" <sip)', "pjsip"),
    _from("name alone", "Door Bell", "<sip:Door%20Bell@127", "pjsip"),
    _from("blank after", "<sip:d@e> ", "<sip:%3csip%3ad@e> >", "pjsip"),
    _from("tag", "<sip:d@e>;x=y", "(?!<sip:d@e>;x=y)", "pjsip"),
    _from("user not escaped", "<sip:ö@e>", "<sip:%3csip%3a%c3%b6@e>>", "pjsip"),
    _from("reserved character escaped", "<sip:a%2Bb@e>", r"<sip:a\+b@e>", "pjsip"),
    # ---- what chan_sip does to them
    _sip_to("parameters", f"sip:a@{_AT};x=y", r"<sip:a@[0-9.:]+>$"),
    _sip_to("headers", f"sip:<sip:a@{_AT}?X=1>", r"<sip:a@[0-9.:]+>$"),
    _sip_to("display name", f"sip:Zoe <sip:a@{_AT}>", r"<sip:a@[0-9.:]+>$"),
    _sip_to("sips", f"sip:<sips:a@{_AT}>", "<sip:a@"),
    _sip_to("zero in front of the port", "sip:a@127.0.0.1:0{port}", r"<sip:a@127\.0\.0\.1:[1-9]"),
    _sip_to("percent sign", f"sip:a%20b@{_AT}", "<sip:a%2520b@"),
    _sip_to("scheme twice", f"sip:sip:a@{_AT}", "<sip:sip%3Aa@"),
    _sip_to("long user", f"sip:{'u' * 256}@{_AT}", "<sip:u{255}@"),
    Row("To beside Destination", {"to": "sip:zoe@e", "destination": "sip:alice"},
        ("To: sip:zoe@e", "Destination: sip:alice"), _to_is("<sip:127"), ("sip",)),
    _from("bare address", "d@e", '"d@e" <sip:asterisk@', "sip"),
    _from("bare URI", "sip:d@e", '"sip:d@e" <sip:asterisk@', "sip"),
    _from("without a name", "<sip:d@e>", '"asterisk" <sip:d@e:', "sip"),
    _from("empty name", '"" <sip:d@e>', '"asterisk" <sip:d@e:', "sip"),
    _from("port", "A <sip:d@e:99>", '"A" <sip:d@e:(?!99)', "sip"),
    _from("parameter", "A <sip:d@e;user=phone>", '"A" <sip:d@e:[0-9]+>', "sip"),
    _from("headers", "A <sip:d@e?Subject=x>", '"A" <sip:d@e:[0-9]+>', "sip"),
    _from("password", "A <sip:d:p@e>", '"A" <sip:d%3Ap@e', "sip"),
    _from("sips", "A <sips:d@e>", '"A" <sip:d@e', "sip"),
    _from("no user", "A <sip:e>", '"A" <sip:asterisk@e', "sip"),
    _from("tel", "A <tel:5>", '"A" <sip:asterisk@tel', "sip"),
    _from("IPv6", "A <sip:d@[::1]>", '"A" <sip:d@::1:', "sip"),
    _from("backslash in a bare name", "A\\B <sip:d@e>", '"AB" <', "sip"),
    _from("quotes around quotes", '"A"B" <sip:d@e>', r'"A\\"B" <', "sip"),
    _from("text after the bracket", "A <sip:d@e>x", '"A" <sip:d@e:[0-9]+>', "sip"),
    _from("NUL escaped", "A <sip:a%00b@e>", '"A" <sip:a@e', "sip"),
    _from("reserved character escaped", "A <sip:a%2Bb@e>", r'"A" <sip:a\+b@e', "sip"),
    _from("user without scheme and with host", "A <d@e>", '"A" <sip:d%40e@127', "sip"),
    _from("long name", f"{'n' * 256} <sip:d@e>", '"n{255}" <', "sip"),
    _from("long name alone", "n" * 256, '"n{255}" <', "sip"),
    _from("long user", f"A <sip:{'u' * 256}@e>", '"A" <sip:u{255}@', "sip"),
    _from("long extension", f"A <{'u' * 256}>", '"A" <sip:u{255}@', "sip"),
]  # fmt: skip

#: Refused for what AMI itself does, whatever the technology.
_LINE = Row(
    "line of 1023 bytes", {"variables": {"X": "v" * 1011}}, ("Variable: X=" + "v" * 1011,),
    lambda raw: not any(headers_of(message).get(b"x") for message in raw.messages),
)


def _from_of(raw: Raw) -> bytes:
    return _only(raw).header("From") or b""


#: How each sentence ends: with what to do.
_ADVICE = re.compile(
    "(?:; |: |, or )(?:write|leave|remove|give|send|use|shorten|put|name|add)(?: .*)?$"
)

#: The version of AMI of each server.
_BANNERS = {16: Banner("5.0.4"), 22: Banner("11.0.0")}


def _refusal(arguments: Dict[str, Any], technology: str, *majors: int) -> LocalProtocolError:
    """Why it is refused; what is exact on some versions, by the first that it is not exact on."""
    asked: Dict[str, Any] = {
        name: value.replace("{port}", "5060") if isinstance(value, str) else value
        for name, value in {"to": f"{technology}:alice", "body": "x", **arguments}.items()
    }
    with pytest.raises(LocalProtocolError) as caught:
        MessageSend(**asked).check_server(_BANNERS[majors[0]])
    assert _ADVICE.search(str(caught.value)), str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("technology", "row"),
    [pytest.param(technology, row, id=f"{technology}-{row.name}".replace(" ", "-"))
     for row in [*ROWS, _LINE] for technology in row.technologies],
)  # fmt: skip
def test_damage(live: Live, technology: str, row: Row) -> None:
    if technology not in live.server.technologies:
        pytest.skip(f"Asterisk {live.server.version} has no {technology}")
    _refusal(row.arguments, technology, *row.versions)
    data = wire(["Action: MessageSend", *_with_target(row.lines, technology)])
    raw = send_raw(live, technology, data.replace(b"{port}", b"%d" % live.phone.port))
    # A refusal made for another server than this one's is stated to be so.
    assert row.damage(raw) is (live.server.major in row.versions), raw


def _with_target(lines: Tuple[Union[str, bytes], ...], technology: str) -> List[Union[str, bytes]]:
    names = {bytes(line if isinstance(line, bytes) else line.encode()).split(b":")[0]
             for line in lines}  # fmt: skip
    complete = list(lines)
    if b"To" not in names:
        complete.insert(0, f"To: {technology}:alice")
    if not names & {b"Body", b"Base64Body"}:
        complete.append("Body: x")
    return complete


@pytest.mark.parametrize("technology", SIP)
@pytest.mark.parametrize("text", [b" two", b"\tx", b"\x01x", b"a\nb", b"\nb", b"a\r\nb"])
def test_body_alone_would_not_do(live: Live, technology: str, text: bytes) -> None:
    """Why such texts go out as Base64Body: by Body they are stripped, or cut."""
    if technology not in live.server.technologies:
        pytest.skip(f"Asterisk {live.server.version} has no {technology}")
    lines = ["Action: MessageSend", f"To: {technology}:alice"]
    raw = send_raw(live, technology, wire([*lines, b"Body: " + text]))
    assert _only(raw).body == text.partition(b"\n")[0].rstrip(b"\r").lstrip(bytes(range(0x21)))
    raw = send_raw(live, technology, MessageSend(f"{technology}:alice", text).wire)
    assert _only(raw).body == text


def test_every_refusal_has_a_row() -> None:
    seen: Set[Tuple[str, int]] = set()
    for row in ROWS:
        for technology in row.technologies:
            seen.add(_raised_at(_refusal(row.arguments, technology, *row.versions)))
    for arguments in XMPP_REFUSALS:
        seen.add(_raised_at(_refusal(arguments, "xmpp", 16)))
    # Before 16.22 Destination is unknown; no such server is at hand.
    with pytest.raises(LocalProtocolError) as caught:
        MessageSend("sip:alice", "x", destination="sip:alice").check_server(Banner("1.3"))
    seen.add(_raised_at(caught.value))
    # A variable's line, and split_body of what MessageSend refuses with the same words.
    seen.add(_raised_at(_refusal(_LINE.arguments, "pjsip", 16)))
    with pytest.raises(LocalProtocolError) as caught:
        amiproto.split_body("\ud800")
    seen.add(_raised_at(caught.value))
    for path in sorted(Path(amiproto.messaging.__file__ or "").parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Raise) and _is_refusal(node):
                where = {(path.name, line) for line in range(node.lineno, _end(node) + 1)}
                assert where & seen, f"{path.name}:{node.lineno} has no row"


def _raised_at(error: LocalProtocolError) -> Tuple[str, int]:
    trace = error.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return Path(trace.tb_frame.f_code.co_filename).name, trace.tb_lineno


def _is_refusal(node: ast.Raise) -> bool:
    call = node.exc
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and (
        call.func.id != "TypeError"
    )


def _end(node: ast.AST) -> int:
    return getattr(node, "end_lineno", None) or 0
