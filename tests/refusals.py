"""What MessageSend refuses, in one table: with which words, and what it would do if it were sent.

Separate from the tests because the codec's, the live ones and those of the manual all read it.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple, Type

from amiproto import (
    Banner,
    BodyTooLong,
    InvalidAddress,
    InvalidBody,
    InvalidHeader,
    InvalidVariable,
    LineTooLong,
    LocalProtocolError,
    TooManyLines,
    escape_variable,
)
from tests.live import harm
from tests.live.harm import Damage

#: Technologies by the rules that they share; "other" has those of AMI alone.
SIP = ("sip", "pjsip")
AMI = ("other", *SIP)
EVERY = (*AMI, "xmpp")
PJSIP = ("pjsip",)
XMPP = ("xmpp",)

ASTERISK_11 = Banner("1.3")
ASTERISK_16 = Banner("5.0.4")
ASTERISK_20 = Banner("9.0.0")
ASTERISK_22 = Banner("11.0.0")
ODD = Banner("odd")
BANNERS = (ASTERISK_11, ASTERISK_16, ASTERISK_20, ASTERISK_22, ODD)

#: The text of a message that is refused for something else; no error may show it.
TEXT = "S3CR3T"

_LEAST = {
    "other": {"to": "other:alice"},
    "pjsip": {"to": "pjsip:alice"},
    "sip": {"to": "sip:alice"},
    "xmpp": {"to": "xmpp:bob@localhost", "from_": "xmpp:account"},
}


class Refusal(NamedTuple):
    """Arguments that are refused, and why."""

    name: str
    #: Those that differ from the least of a message of the technology. ``{at}`` in them, and in the
    #: words, stands for the phone's address, ``{port}`` for its port.
    arguments: Dict[str, Any]
    error: Type[LocalProtocolError]
    #: What the error names in ``field``.
    field: str
    #: What the error says, or a part of that. ``{version}`` stands for the server's.
    words: str
    technologies: Tuple[str, ...] = SIP
    #: Whether the damage is done by what would have been sent; None where nobody has looked.
    damage: Optional[Damage] = None
    #: Major versions of the servers that do it; on others the refusal is for the sake of these.
    versions: Tuple[int, ...] = (16, 22)
    #: Those it is refused to by ``check_server``, where it is exact on others.
    banners: Tuple[Banner, ...] = ()
    limit: Optional[int] = None
    actual: Optional[int] = None
    #: Whether the words are all that the error says.
    whole: bool = False

    def asked(self, technology: str, port: int = 5060) -> Dict[str, Any]:
        """The arguments of MessageSend."""
        asked: Dict[str, Any] = {"body": TEXT, **_LEAST[technology], **self.arguments}
        return {name: filled(value, port) if isinstance(value, str) else value
                for name, value in asked.items()}  # fmt: skip

    def lines(self, technology: str, port: int) -> List[bytes]:
        """The lines of the action that would have been sent."""
        asked = self.asked(technology, port)
        lines = ["Action: MessageSend", f"To: {asked['to']}"]
        for name, argument in (("From", "from_"), ("Destination", "destination")):
            if asked.get(argument) is not None:
                lines.append(f"{name}: {asked[argument]}")
        for name, value in pairs_of(asked):
            lines.append(f"Variable: {name}={escape_variable(value)}")
        body = asked["body"]
        text = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
        coded = set(text) & set(b"\0\r\n") or 0 < len(text) and text[0] <= 0x20
        last = b"Base64Body: " + b64encode(text).rstrip(b"=") if coded else b"Body: " + text
        return [*(line.encode("utf-8", "surrogatepass") for line in lines), last]


def pairs_of(asked: Dict[str, Any]) -> List[Tuple[str, str]]:
    """Names and values of the variables among the arguments."""
    variables = asked.get("variables", {})
    return list(variables.items() if isinstance(variables, dict) else variables)


def name_of(value: object) -> Optional[str]:
    """A name for the cases of a test whose parameters are a row and others.

    Of ASCII alone: pytest shows other characters by their numbers, and does not find a test of its
    own by such a name.
    """
    if not isinstance(value, Refusal):
        return None
    return re.sub(r"[^\w .=-]+", "_", value.name, flags=re.ASCII)[:60]


def filled(text: str, port: int) -> str:
    """The text with the phone's address in it."""
    return text.replace("{at}", "127.0.0.1:{port}").replace("{port}", str(port))


# ---- the body

_SHORTEN = "shorten it, or send the parts that split_body(text) gives"


def _long_body(body: Any, limit: int, actual: int, damage: Optional[Damage] = None) -> Refusal:
    blank = " with line breaks or with a blank in front" if limit == 757 else ""
    words = f"the text has {actual} bytes and AMI carries at most {limit} of a text{blank}; "
    return Refusal(f"body of {actual} bytes", {"body": body}, BodyTooLong, "Body", words + _SHORTEN,
                   EVERY, damage, limit=limit, actual=actual, whole=True)  # fmt: skip


def _body(body: Any, words: str, technologies: Tuple[str, ...], damage: Any = None) -> Refusal:
    return Refusal(f"body {body!r}", {"body": body}, InvalidBody, "Body", words, technologies,
                   damage, whole=True)  # fmt: skip


def _not_xml(body: str, index: int, damage: Optional[Damage] = None) -> Refusal:
    words = f"the text holds {body[index]!r} at character {index}, which XML cannot carry to an "
    return _body(body, words + "xmpp client; remove it", XMPP, damage)


_NUL = "the text holds a NUL, where the server would cut it off; remove it"
_SURROGATE = (
    "the text holds a lone surrogate at character {}, which UTF-8 cannot carry; give bytes to send "
    "such a text as it is"
)
_NO_UTF_8 = "the text is no UTF-8, which would break the server's XML stream; send UTF-8"

_BODIES = [
    _long_body("b" * 1017, 1016, 1017, harm.body_is_not(b"b" * 1017)),
    _long_body("é" * 508 + "x", 1016, 1017),
    _long_body("日" * 339, 1016, 1017),
    _long_body(b"x" * 1017, 1016, 1017),
    _long_body("a\n" + "b" * 756, 757, 758, harm.body_is_not(b"a\n" + b"b" * 756)),
    _long_body("x" * 757 + "\n", 757, 758),
    _long_body(" " + "x" * 757, 757, 758),
    _long_body("\t" * 758, 757, 758),
    # XML holds no such character, and xmpp refuses it for that.
    _long_body("x" * 2000 + "\r", 757, 2001)._replace(technologies=AMI),
    _body("ab\0cd", _NUL, EVERY, harm.body_is(b"ab")),
    _body(b"\0", _NUL, EVERY),
    _body("a\ud800", _SURROGATE.format(1), EVERY, harm.undecodable),
    _body("\udcff", _SURROGATE.format(0), EVERY),
    _not_xml("a\x01b", 1, harm.xmpp_breaks),
    _not_xml("a\x0bb", 1),
    _not_xml("\x0c", 0, harm.xmpp_breaks),
    _not_xml("a\x1b[0m", 1),
    _not_xml("\x1f", 0),
    _not_xml("\ufffe", 0, harm.xmpp_breaks),
    _not_xml("a\uffffb", 1),
    # XML makes a line feed of it.
    _not_xml("a\rb\r\nc", 1, harm.xmpp_text_is("a\nb\nc")),
    _body(b"a\xffb", _NO_UTF_8, XMPP, harm.xmpp_breaks),
    _body(b"\xed\xa0\x80", _NO_UTF_8, XMPP, harm.xmpp_breaks),
]

# ---- variables


def _name(name: str, words: str, technologies: Tuple[str, ...], damage: Any = None) -> Refusal:
    return _variable(name, "evil", f"the variable name {name!r} {words}", technologies, damage)


def _variable(
    name: str, value: str, words: str, technologies: Tuple[str, ...] = SIP,
    damage: Optional[Damage] = None, versions: Tuple[int, ...] = (16, 22),
) -> Refusal:  # fmt: skip
    return Refusal(f"variable {name}={value}", {"variables": {name: value}}, InvalidVariable, name,
                   words, technologies, damage, versions)  # fmt: skip


def _many(
    variables: Dict[str, str], words: str, technology: str, limit: int, actual: int,
    damage: Optional[Damage] = None, body: str = TEXT,
) -> Refusal:  # fmt: skip
    return Refusal(f"{len(variables)} variables", {"variables": variables, "body": body},
                   InvalidVariable, "Variable", words.format(actual), (technology,), damage,
                   limit=limit, actual=actual)  # fmt: skip


def _numbered(count: int, value: str) -> Dict[str, str]:
    return {f"X-{number}": value for number in range(100, 100 + count)}


_NAME = (
    "is empty, starts with a blank, or has an equals sign, a control character or a lone "
    "surrogate; give another"
)
_TOKEN = "is no SIP header name; use letters, digits and -.!%*_+`'~"
_EMPTY = "the variable 'X' is empty, and no server sends an empty one; leave it out"
_LINE_END = "the value of the variable 'X' holds a CR, LF or NUL; remove it"
_LONE = "the value of the variable 'X' holds a lone surrogate; remove it"
_FORWARDS = "'Max-Forwards' is changed, makes the server fail, or drops what comes after it; leave"
_TYPE = "pjsip takes a type and a subtype such as text/plain as 'Content-Type', and no parameters; "
_KEPT = "{} variables, and chan_sip keeps 53, then drops headers; send fewer"
_DATAGRAM = "the message would have about {} bytes and a SIP datagram holds 65507; send fewer or"

#: Names that the server keeps for itself, and the compact ones of what it writes itself.
DROPPED = ("To From Via Route Contact call-ID CSeq Allow Content-Length Request-URI").split()
COMPACT = {"C": "Content-Type", "f": "From", "i": "Call-ID", "l": "Content-Length", "m": "Contact",
           "T": "To", "v": "Via"}  # fmt: skip

_VARIABLES = [
    _variable("X", "", _EMPTY, AMI, harm.values("X")),
    Refusal("variable twice", {"variables": [("B", "x"), ("x", "1"), ("X", "2")]}, InvalidVariable,
            "X", "the variable 'X' is given twice; servers disagree on which one counts; give it "
            "once", AMI, harm.values("X", b"2")),
    _name("", _NAME, AMI, harm.without(b"evil")),
    _name(" X", _NAME, AMI),
    _name("X=Y", _NAME, AMI, harm.values("X", b"Y=evil")),
    _name("X\x01", _NAME, AMI, harm.no_token),
    _name("X\tY", _NAME, AMI), _name("X\r\nY", _NAME, AMI), _name("X\ud800", _NAME, AMI),
    _name("X\udcff", _NAME, AMI),
    _name("X Y", _TOKEN, SIP, harm.no_token),
    _name("X:Y", _TOKEN, SIP, harm.values("X", b"Y: evil")),
    _name("Übung", _TOKEN, SIP),
    _variable("X", "a\nb", _LINE_END, AMI, harm.values("X", b"a")),
    _variable("X", "a\0b", _LINE_END, AMI, harm.values("X", b"a")),
    _variable("X", "evil\0", _LINE_END, AMI),
    # Exact, and yet a line end to many a phone; RFC 3261 allows none in a header.
    _variable("X", "a\rX-Injected: b", _LINE_END, AMI, harm.contains(b"\rX-Injected: b\r\n")),
    _variable("X", "evil\r", _LINE_END, AMI),
    _variable("X", "a\udcff", _LONE, AMI, harm.undecodable),
    _variable("X", "\ud800", _LONE, AMI),
    *[_variable(name, "Evil", f"the server keeps {name!r} for itself and drops yours; use another",
                damage=harm.without(b"Evil")) for name in DROPPED],
    # 22 sends no Contact with a MESSAGE, but the alias is one for all.
    *[_variable(name, "evil", f"{name!r} is the short form of {long}, of which the phone would get "
                "two; use another name", damage=harm.two(long),
                versions=(16,) if name == "m" else (16, 22)) for name, long in COMPACT.items()],
    _variable("User-Agent", "Mine", "chan_sip writes 'User-Agent' itself, and the phone would get "
              "two; leave it out", ("sip",), harm.two("User-Agent")),
    _variable("Max-Forwards", "70", _FORWARDS, damage=harm.has_value("Max-Forwards", b"69")),
    _variable("Max-Forwards", "0", _FORWARDS,
              damage=harm.either(harm.failed, harm.has_value("Max-Forwards", b"-1"))),
    Refusal("variable after a bad Max-Forwards", {"variables": {"Max-Forwards": "x", "X": "1"}},
            InvalidVariable, "Max-Forwards", _FORWARDS,
            damage=harm.either(harm.failed, harm.values("X"))),
    _variable("Content-Type", "text/html;charset=x", _TYPE, PJSIP,
              harm.values("Content-Type", b"text/html")),
    _variable("Content-Type", "junk", _TYPE, PJSIP, harm.values("Content-Type", b"text/plain")),
    _many(_numbered(54, "v"), _KEPT, "sip", 53, 54, harm.no_length),
    _many({**_numbered(54, "v"), "Content-Type": "a/b"}, _KEPT, "sip", 53, 54),
    _many(_numbered(66, "v" * 1000), _DATAGRAM, "pjsip", 65507, 67681, harm.lost),
    _many(_numbered(63, "v" * 1000), _DATAGRAM, "pjsip", 65507, 65648, body="x" * 1000),
    _many(_numbered(5000, "v" * 20), _DATAGRAM, "pjsip", 65507, 150187),
    # Two of them do not fit one line, and all of them would fit a datagram.
    Refusal("129 lines", {"variables": _numbered(126, "v" * 500)}, TooManyLines, "Variable",
            "the message has 126 variables and its action over 128 lines; send fewer variables",
            ("other", "pjsip"), harm.too_many_lines, limit=128, actual=130),
    Refusal("line of 1023 bytes", {"variables": {"X": "v" * 1011}}, LineTooLong, "X",
            "the value of the variable 'X' has 1011 bytes, and its line holds 1010; shorten it",
            AMI, harm.no_header("X"), limit=1022, actual=1023, whole=True),
    Refusal("line with marks", {"variables": {"X-A": "ok", "X-B": "," * 605}}, LineTooLong, "X-B",
            "the value of the variable 'X-B' has 605 bytes, and 1210 with a backslash before each "
            '\\ " , ( ) [ ], and its line holds 1008; shorten it',
            AMI, limit=1022, actual=1224, whole=True),
    Refusal("line of two bytes each", {"variables": {"X-B": "é" * 505}}, LineTooLong, "X-B",
            "the value of the variable 'X-B' has 1010 bytes, and its line holds 1008; shorten it",
            AMI, limit=1022, actual=1024, whole=True),
    Refusal("variable of xmpp", {"variables": {"X": "1"}}, InvalidVariable, "Variable",
            "an xmpp message carries no variables: the server ignores them all; leave them out",
            XMPP, harm.xmpp_text_is(TEXT)),
]  # fmt: skip

# ---- addresses


def _address(argument: str, value: str, words: str, damage: Optional[Damage] = None) -> Refusal:
    """One that AMI does not carry, whatever the technology."""
    field = {"to": "To", "from_": "From", "destination": "Destination"}[argument]
    return Refusal(f"{field} {value!r}", {argument: value}, InvalidAddress, field,
                   f"{field} {words}", AMI, damage)  # fmt: skip


def _targets(
    technologies: Tuple[str, ...], start: str, words: str, rows: Iterable[Tuple[Any, ...]]
) -> Iterator[Refusal]:
    """For each: the rest of the target, the rest of the words; the damage and its versions."""
    for rest, more, *done in rows:
        to = start + rest
        for field, arguments in (
            ("To", {"to": to}), ("Destination", {"to": "sip:zoe@e", "destination": to})
        ):  # fmt: skip
            yield Refusal(f"{field} {to}", arguments, InvalidAddress, field,
                          words.format(field=field, to=to) + more, technologies,
                          *(done if field == "To" else ()))  # fmt: skip


def _froms(technology: str, words: str, rows: Iterable[Tuple[Any, ...]]) -> Iterator[Refusal]:
    """For each: the From, the rest of the words; the damage."""
    for from_, more, *done in rows:
        yield Refusal(f"From {from_}", {"from_": from_}, InvalidAddress, "From",
                      words.format(from_=from_) + more, (technology,), *done)  # fmt: skip


def _tos(words: str, rows: Iterable[Tuple[Any, ...]], *banners: Banner) -> Iterator[Refusal]:
    """For each To beside a Destination: the To, the rest of the words; the damage, its versions."""
    for to, more, *done in rows:
        yield Refusal(f"{to} beside Destination", {"to": to, "destination": "pjsip:alice"},
                      InvalidAddress, "To", words.format(to=to) + more, PJSIP, *done
                      )._replace(banners=banners)  # fmt: skip


_BLANK = "starts with a blank, which the server strips; remove it"
_CONTROL = "holds a control character, which would end the line or be changed; remove it"
_LONE_IN = "holds a lone surrogate, which UTF-8 cannot carry; remove it"
_LEAVE_OUT = "is empty; name one, or leave it out"
_WRONG = [(" other:x", _BLANK), ("other:x\r\n\r\nAction: Ping", _CONTROL), ("\tother:x", _CONTROL),
          ("other:\x7f", _CONTROL), ("other:\0", _CONTROL), ("other:\ud800", _LONE_IN),
          ("other:\udcff", _LONE_IN)]  # fmt: skip
_AFTER_COLON = "ends with the technology's name; write after the colon whom to send to"
_CAPITALS = "has the name of its technology in capitals, which servers do not find; write "
_NO_TECHNOLOGY = "names no technology, such as pjsip: or sip:, in front; write "
_NOT_PJSIP = "pjsip would not send to {to!r} as it is written: "
_WRITE = "write pjsip:endpoint, pjsip:endpoint/sip:user@host or pjsip:sip:user@host"
_BEFORE_AT = "what is in front of the @ would be looked for as an endpoint, and the rest dropped; "
_BEFORE_SLASH = "in front of the slash an endpoint is looked for; write pjsip:endpoint/sip:user@"
_SCHEME = "the scheme in capitals would be read as a user; write sip: in small letters"
_SIPS = "sips: would become sip:, or nothing would be sent; write sip:"
_TEL = "tel: is no SIP; write sip:number@host"
_HEADERS = "pjsip would put the headers after the question mark into the message unchecked, "
_BARE = "would come out as a bare {0}, which is another address; write {0} where you mean that"
_LOST = "would come out bare, or end the address; leave it out"
_USER_NEEDED = (
    "PJSIP/ needs a user and an endpoint; write PJSIP/user@endpoint, the user without colon or "
    "slash, and reserved characters in it unescaped"
)
_PERCENT = "a percent sign has no two hex digits after it; leave it out"
_NO_IPV6 = "is no IPv6 address, which has colons; leave the brackets out"
_ZERO = "the port starts with a zero, which would be dropped; leave the zero out"
_TRANSPORT = (
    "where the endpoint's transport is another, the message would be lost with Success; leave it "
    "out, and give it in the contact of an endpoint"
)
_ORDER = "pjsip writes the parameters user, transport, ttl, maddr, lr in this order, in small "
_AFTER_BRACKET = "what stands after the bracket would be dropped; leave it out"
_NOT_CLOSED = "the bracket is not closed; write 'Name <sip:user@host>'"
_QUOTES = "the name has a quote, backslash or colon; write it in quotes, with a backslash "
_PARAMETERS = "parameters and headers would be dropped; leave them out"
_WRITE_FROM = "write sip:user@host or 'Name <sip:user@host>', with nothing after it"
_PLAIN_TO = "it takes a URI without port, transport or headers; write sip:user@host"
_NO_USE = "a server of AMI {{version}} makes no use of {to!r} as the To header; write sip:user@host"
_SEMICOLON = "a server of AMI {{version}} cuts the From {from_!r} at its semicolon; leave it out"
_INTO_NAME = "put the endpoint of {!r} into the name of the To header; leave the Destination out"
_NOT_SIP = "chan_sip would not send to {to!r} as it is written: "
_WRITE_SIP = "write sip:peer, sip:user@peer or sip:user@host:port, with nothing after it"
_NAME_DROPPED = "a name, or what stands after the bracket, would be dropped; write sip:user@host"
_TWICE = "would be escaped once more; write the character itself"
_CUT = "has {} bytes as chan_sip writes it, and it would be cut after 255; shorten it"
_FOR_A_NAME = "for a display name; write 'Name <sip:user@host>'"
_PORT = "port, parameters and headers would be dropped, and chan_sip adds a port by itself; leave"
_NO_USER = "the address has no user and host; write 'Name <sip:user@host>'"
_NO_OTHER_TO = "makes no use of To; give the destination as To, too"
_DEFAULT = r"<sip:alice@127\.0\.0\.1>;tag"
_BRACKETS = r"<sip:a@[0-9.:]+>$"


def _cut(from_: str, part: str, size: int, damage: Optional[Damage] = None) -> Refusal:
    return Refusal(f"{part} of {size} bytes in From", {"from_": from_}, InvalidAddress, "From",
                   f"the {part} in From {_CUT.format(size)}", ("sip",), damage, limit=255,
                   actual=size, whole=True)  # fmt: skip


_AMI_ADDRESSES = [
    _address("to", "", "is empty; name whom to send to", harm.failed),
    _address("from_", "", _LEAVE_OUT, harm.from_is(".*<sip:")),
    _address("destination", "", _LEAVE_OUT),
    *[_address(argument, value, words) for value, words in _WRONG
      for argument in ("to", "from_", "destination")],
    *[row for technology in SIP for row in _targets(
        (technology,), f"{technology}:", "{field} " + _CONTROL,
        [("alice\r\nVariable: X-Injected=1", "", harm.values("X-Injected", b"1"))])],
    # Exact, and yet no header that RFC 3261 knows.
    _address("from_", "A\x01B <sip:d@e>", _CONTROL, harm.from_is(".*\x01")),
    _address("from_", "\tA <sip:d@e>", _CONTROL, harm.from_is('"A" <')),
    _address("from_", "A\r\nBody: evil", _CONTROL, harm.body_is(b"evil")),
    _address("from_", ' "A" <sip:d@e>', _BLANK, harm.from_is('"A" <')),
    _address("from_", "A\ud800 <sip:d@e>", _LONE_IN, harm.undecodable),
    *_targets(SIP, "", "{field} {to!r} " + _NO_TECHNOLOGY, [
        ("alice", "'pjsip:alice' where pjsip carries it", harm.unknown),
        ("1001", "'pjsip:1001' where"), ("Zoe <sip:zoe@e>", ""), ("ö:x", "")]),
    *_targets(PJSIP, "", "{field} {to!r} " + _NO_TECHNOLOGY, [
        ("pjsip/alice", "'pjsip:alice' where", harm.unknown),
        ("PJSIP/bob@alice", "'pjsip:bob@alice' where")]),
    *_targets(PJSIP, "", "{field} {to!r} " + _CAPITALS, [
        ("PJSIP:alice", "'pjsip:alice'", harm.unknown)]),
    *_targets(("sip",), "", "{field} {to!r} " + _CAPITALS, [
        ("SIP:alice", "'sip:alice'", harm.unknown), ("Sip:alice", "'sip:alice'")]),
    *_targets(PJSIP, "", "{field} {to!r} " + _AFTER_COLON, [("pjsip:", "", harm.failed)]),
    *_targets(("sip",), "", "{field} {to!r} " + _AFTER_COLON, [("sip:", "", harm.failed)]),
    *_targets(("other",), "", "{field} {to!r} " + _AFTER_COLON, [("other:", "")]),
    # No such server is at hand.
    *[Refusal("Destination to Asterisk 11", {"to": to, "destination": to}, InvalidAddress,
              "Destination", "a server of AMI {version} knows no Destination and would route by "
              "To; put the destination there", (technology,), banners=(ASTERISK_11,))
      for technology in EVERY for to in [_LEAST[technology]["to"]]],
]  # fmt: skip

_PJSIP_ADDRESSES = [
    *_targets(PJSIP, "pjsip:", "{field} ends with a blank, which would be a part of the name; ", [
        ("alice ", "remove it", harm.lost), ("PJSIP/bob@alice ", "remove it")]),
    *_targets(PJSIP, "pjsip:", _NOT_PJSIP, [
        ("a:b", _WRITE), ("/sip:bob@host", _WRITE), ("alice/", _WRITE),
        ("alice/ sip:bob@host", "a blank stands in front of the address; remove it"),
        ("sip:@host", _WRITE),
        ("alice@example.org", _BEFORE_AT + "write pjsip:sip:alice@example.org for the address",
         harm.uri_is("sip:alice@{at}")),
        ("alice@", _BEFORE_AT, harm.uri_is("sip:alice@{at}")),
        ("@alice", _BEFORE_AT), ("sip:b/c@host", _BEFORE_SLASH),
        ("SIP:bob@{at}", _SCHEME, harm.uri_is("sip:SIP:bob@{at}")),
        ("alice/Sip:bob@{at}", _SCHEME, harm.uri_is("sip:Sip:bob@{at}")),
        ("<SIP:bob@host>", _SCHEME),
        ("sips:a@{at}", _SIPS, harm.lost, (22,)),
        ("alice/tel:+5", _TEL),
        ("sip:a@{at}?X-A=1%0d%0aX-Injected:%201", _HEADERS, harm.values("X-Injected", b"1")),
        ("sip:host?Subject=x", _HEADERS), ("alice?x=1", _HEADERS),
        ("sip:a%3Bb@{at}", "%3B " + _BARE.format(";"), harm.uri_is("sip:a;b@{at}")),
        ("alice/sip:a%2bb@{at}", "%2b " + _BARE.format("+"), harm.uri_is("sip:a+b@{at}")),
        ("sip:a%2541b@{at}", "%25 " + _LOST, harm.uri_is("sip:a%41b@{at}")),
        ("sip:a:b%24@{at}", "%24 " + _BARE.format("$"), harm.uri_is("sip:a:b$@{at}")),
        ("PJSIP/a%26b@alice", _USER_NEEDED, harm.uri_is("sip:a&b@{at}")),
        ("PJSIP/a%25b@alice", _USER_NEEDED), ("PJSIP/a:b@alice", _USER_NEEDED),
        ("PJSIP/alice", _USER_NEEDED), ("sip:a%zz@host", _PERCENT),
        ("sip:a#b@{at}", "'#' has to be escaped; write %23", harm.uri_is("sip:a%23b@{at}")),
        ("sip:ö@host", "'ö' has to be escaped; write %C3%B6"),
        ("sip:a@[1.2.3.4]", "[1.2.3.4] " + _NO_IPV6), ("sip:a%22%3A@[1]", "[1] " + _NO_IPV6),
        ("[.]", "[.] " + _NO_IPV6),
        ("[127.0.0.1]:{port}", "[127.0.0.1] " + _NO_IPV6, harm.uri_is("sip:{at}")),
        ("sip:a@ho st", "' ' cannot stand in a host name; leave it out"),
        ("sip:a@127.0.0.1:0{port}", _ZERO, harm.uri_is("sip:a@{at}")),
        ("sip:a@{at};transport=tcp", _TRANSPORT, harm.lost, (22,)),
        ("sip:a@{at};method=INVITE", _ORDER, harm.uri_is("sip:a@{at}")),
        ("sip:a@{at};x=", _ORDER, harm.uri_is("sip:a@{at};x")),
        ("sip:a@{at};x=1;user=phone", _ORDER, harm.uri_is("sip:a@{at};user=phone;x=1")),
        ("sip:a@{at};lr=on", _ORDER, harm.uri_is("sip:a@{at};lr")),
        ("sip:a@{at};LR", _ORDER, harm.uri_is("sip:a@{at};lr")),
        ("sip:a@{at};transport=udp;transport=udp", _ORDER, harm.uri_is("sip:a@{at};transport=udp")),
        ('sip:a@{at};x="a b"', _ORDER, harm.uri_is('sip:a@{at};x="a b"')),
        ("sip:a@{at};user=a%20b", _ORDER, harm.uri_is("sip:a@{at};user=a b")),
        ("sip:a@{at};x=%5B", "%5B " + _LOST, harm.uri_is("sip:a@{at};x=[")),
        ("sip:a@{at};x=%22", "%22 " + _LOST, harm.uri_is('sip:a@{at};x="')),
        ("<sip:bob@host>;x=1", _AFTER_BRACKET), ("alice/Bob <sip:bob@host", _NOT_CLOSED),
        # What is wrong is looked for in the right part.
        ("alice/<sip:b@h>?x", _AFTER_BRACKET), ("alice/<sip:b@h>?x>", _WRITE),
        ("alice/sips:b@h/x", _SIPS), ("tel:5/x", _TEL), ("sip:a@HOST:0", _ZERO),
        ("sip:a@b;x@c", _WRITE), ("sip:a;b@", _WRITE), ("sip:a?b@", _WRITE),
    ]),
    *_froms("pjsip", "pjsip would change or drop the From {from_!r}: ", [
        ("Door Bell", "it is no address; write 'Door Bell <sip:user@host>'",
         harm.from_is("<sip:Door%20Bell@127")),
        ("A:B <sip:d@e>", _QUOTES, harm.from_is("<sip:A%3aB%20%3csip%3ad@e>>")),
        ('A "x" <sip:d@e>', _QUOTES, harm.from_is('(?!"A \\\\"x\\\\"" <sip)')),
        ("back\\slash <sip:door@e>", _QUOTES),
        ("<sip:d@e:99>", "a port would be dropped; leave it out", harm.from_is("<sip:d@e>")),
        ("sip:e:5060", "a port would be dropped; leave it out"),
        ("<sip:d@e;user=phone>", _PARAMETERS, harm.from_is(r"<sip:(%3csip%3a)?d@e>")),
        ("<sip:d@e?Subject=x>", _PARAMETERS, harm.from_is("<sip:d@e>")),
        ("<sip:d:p@e>", "a password would be dropped; leave it out", harm.from_is("<sip:d@e>")),
        ("<sips:d@e>", _SIPS, harm.from_is("<sip:d@e>")),
        ("sips:door@e", _SIPS),
        ("tel:5", _TEL, harm.from_is(_DEFAULT)),
        ("<sip:d@e> ", _AFTER_BRACKET, harm.from_is("<sip:%3csip%3ad@e> >")),
        ("<sip:d@e>;x=y", _AFTER_BRACKET, harm.from_is("(?!<sip:d@e>;x=y)")),
        ("Door <sip:door@e", _NOT_CLOSED),
        ("<sip:ö@e>", "'ö' has to be escaped; write %C3%B6",
         harm.from_is("<sip:%3csip%3a%c3%b6@e>>")),
        ("<sip:a%2Bb@e>", "%2B " + _BARE.format("+"), harm.from_is(r"<sip:a\+b@e>")),
        ("sip:a%2541@e.org", "%25 " + _LOST, harm.from_is("<sip:a%41@e.org>")),
        ("a%zz@e", _PERCENT),
        ("sip:a@[1.2.3.4]", "[1.2.3.4] " + _NO_IPV6, harm.from_is("<sip:a@1.2.3.4>")),
        ("d@[1]", "[1] " + _NO_IPV6), ("d@e:5060", _WRITE_FROM), ("sip:@e", _WRITE_FROM),
        # What is wrong is looked for in the right part.
        ("sip::5", "a port would be dropped; leave it out"),
        ('"A" <sip:d@e:99>', "a port would be dropped; leave it out"),
        ("sip:a@b;x@c", _WRITE_FROM), ("sip:a;b@", _WRITE_FROM), ("A <x:y <sip:d@e>", _WRITE_FROM),
        ("A <x <sips:d@e>", _SIPS), ("A> <sips:d@e>", _SIPS), ("A <x> <sip:d@e", _NOT_CLOSED),
        ("Door>", "it is no address; write 'Door> <sip:user@host>'"),
    ]),
    # It is cut where there is an @ only.
    *[row._replace(banners=(ASTERISK_11, ASTERISK_16, ASTERISK_20, ODD))
      for row in _froms("pjsip", _SEMICOLON, [
          ('"A;B" <sip:d@e>', "", harm.from_is('(?!"A;B")'), (16,)),
          ("sip:a;b@e", "", harm.from_is("<sip:a>"), (16,)),
          ("A;B <sip:d@e>", ""), ("a;b@e", "")])],
    *_tos("where there is a Destination, pjsip would not put {to!r} into the To header as it is "
          "written: ", [
              ("zoe", _PLAIN_TO, harm.to_is("<sip:alice@")),
              ("pjsip:bob", _PLAIN_TO),
              ("sip:zoe@e:99", _PLAIN_TO, harm.to_is("<sip:zoe@e>")),
              ("sip:zoe@e;transport=udp", _PLAIN_TO), ("sip:zoe@e;lr", _PLAIN_TO),
              ("sip:zoe@e;x=1;user=phone", _PLAIN_TO), ("sips:zoe@e", _SIPS),
              ("sip:100%25@e", "%25 " + _LOST, harm.to_is("<sip:100%@e>")),
              ("Zoe <sip:zoe@e>;x=1", _AFTER_BRACKET), ("pjsip:sips:zoe@e", _SIPS),
              ("sip:z@[1]", "[1] " + _NO_IPV6)]),
    *_tos(_NO_USE, [
        ("SIP:zoe@e", ", in small letters, without a name", harm.to_is("<sip:alice@"), (22,)),
        ("Zoe <sip:zoe@example.org>", "", harm.to_is("<sip:alice@"), (22,)),
        ("<sip:zoe@e>", ""), ("pjsip:SIP:zoe@e", "")], ASTERISK_20, ASTERISK_22, ODD),
    *[Refusal(f"endpoint in the name of To: {to}", {"to": to, "destination": to}, InvalidAddress,
              "To", _INTO_NAME.format(to), PJSIP, damage, (16,), (ASTERISK_16, ASTERISK_20, ODD))
      for to, damage in (("pjsip:alice/Bob <sip:b@{at}>", harm.to_is('"alice/Bob" <')),
                         ("pjsip:alice/<sip:b@h>", None))],
]  # fmt: skip

_SIP_ADDRESSES = [
    *_targets(("sip",), "sip:", _NOT_SIP, [
        ("alice ", _WRITE_SIP), ("alice/bob", _WRITE_SIP), ("a@b@alice", _WRITE_SIP),
        ("a@{at};x=y", _PARAMETERS, harm.to_is(_BRACKETS)),
        ("bob@host?X=1", _PARAMETERS),
        ("a@127.0.0.1:0{port}", _ZERO, harm.to_is(r"<sip:a@127\.0\.0\.1:[1-9]")),
        ("<sip:bob@host:00>", _NAME_DROPPED),
        ("a%20b@{at}", "%20 " + _TWICE, harm.to_is("<sip:a%2520b@")),
        ("%2B49@host", "%2B would be escaped once more; write +"), ("%C3%B6@host", "%C3 " + _TWICE),
        ("%7E@host", "%7E would be escaped once more; write ~"), ("%7F@host", "%7F " + _TWICE),
        ("a@b%20c@alice", "%20 " + _TWICE), ("a@b;c@alice", _WRITE_SIP),
        ("a;b@c@alice", _WRITE_SIP),
        ("Zoe <sip:a@{at}>", _NAME_DROPPED, harm.to_is(_BRACKETS)),
        ("<sip:a@{at}?X=1>", _NAME_DROPPED, harm.to_is(_BRACKETS)),
        ("<sip:bob@host", _NAME_DROPPED), ("<sip:bob@host>x", _NAME_DROPPED),
        ("sip:a@{at}", "the scheme stands there twice; write sip:a@{at}",
         harm.to_is("<sip:sip%3Aa@")),
        ("sips:bob@host", "chan_sip sends sips: as sip:; write sip:user@host:port"),
        ("<sips:a@{at}>", "chan_sip sends sips: as sip:; write sip:user@host:port",
         harm.to_is("<sip:a@")),
    ]),
    *[row._replace(limit=255, actual=size) for size, user, damage in (
        (258, "ö" * 43, None), (256, "u" * 256, harm.to_is("<sip:u{255}@")))
      for row in _targets(("sip",), "sip:", "the user in {field} " + _CUT.format(size), [
          (user + "@{at}", "", damage)])],
    Refusal("To beside Destination", {"to": "sip:zoe@e", "destination": "sip:alice"},
            InvalidAddress, "To", "where there is a Destination, sip " + _NO_OTHER_TO, ("sip",),
            harm.to_is("<sip:127"), whole=True),
    *_froms("sip", "chan_sip takes the bare address {from_!r} " + _FOR_A_NAME, [
        ("d@e", "", harm.from_is('"d@e" <sip:asterisk@')),
        ("sip:d@e", "", harm.from_is('"sip:d@e" <sip:asterisk@')),
        ("sip:door", ""), ("tel:+491234", ""), ("d@e ", "")]),
    *_froms("sip", "chan_sip would put its own name in front of {from_!r}; write 'Name <", [
        ("<sip:d@e>", "sip:d@e>'", harm.from_is('"asterisk" <sip:d@e:')),
        ('"" <sip:d@e>', "sip:d@e>'", harm.from_is('"asterisk" <sip:d@e:')),
        ('" <sip:d@e>', "sip:d@e>'")]),
    *_froms("sip", "chan_sip would drop backslashes or quotes from the name in {from_!r}; write "
            '"Name" with a backslash before each \\ and " in it', [
                ("A\\B <sip:d@e>", "", harm.from_is('"AB" <')),
                ('"A"B" <sip:d@e>', "", harm.from_is(r'"A\\"B" <'))]),
    *_froms("sip", "chan_sip would change or drop the From {from_!r}: ", [
        ("A <sip:d@e:99>", _PORT, harm.from_is('"A" <sip:d@e:(?!99)')),
        ("A <sip:d@e;user=phone>", _PORT, harm.from_is('"A" <sip:d@e:[0-9]+>')),
        ("A <sip:d@e?Subject=x>", _PORT, harm.from_is('"A" <sip:d@e:[0-9]+>')),
        ("A <sip:d@[::1]>", "IPv6 would lose its brackets; write a host name",
         harm.from_is('"A" <sip:d@::1:')),
        ("A <sip:door@[1]>", "[1] " + _NO_IPV6),
        ("A <sip:e>", _NO_USER, harm.from_is('"A" <sip:asterisk@e')),
        ("A <d@e>", _NO_USER, harm.from_is('"A" <sip:d%40e@127')),
        ("A <>", _NO_USER),
        ("A <sips:d@e>", _SIPS, harm.from_is('"A" <sip:d@e')),
        ("A <tel:5>", _TEL, harm.from_is('"A" <sip:asterisk@tel')),
        ("A <sip:d:p@e>", "a password would become a part of the user; leave it out",
         harm.from_is('"A" <sip:d%3Ap@e')),
        ("A <sip:a%00b@e>", "%00 " + _LOST, harm.from_is('"A" <sip:a@e')),
        ("A <sip:a%2Bb@e>", "%2B " + _BARE.format("+"), harm.from_is(r'"A" <sip:a\+b@e')),
        ("A <sip:a%zz@e>", _PERCENT), ("A <sip:ö@e>", "'ö' has to be escaped; write %C3%B6"),
        ("A <sip:d@e f>", "' ' cannot stand in a host name; leave it out"),
        ("A <%2B49>", "%2B " + _TWICE), ("A <sip:d@e", _NOT_CLOSED),
        ("A <sip:d@e>x", _AFTER_BRACKET, harm.from_is('"A" <sip:d@e:[0-9]+>')),
        ("A <sip:d@e>X", _AFTER_BRACKET), ("A <sip:d@e>\u2003", _AFTER_BRACKET),
        ("A <sip:d@e:99> ", _PORT), ("A <sip:e>@:x>", _NO_USER),
    ]),
    *[_cut(*arguments) for arguments in (
        ("n" * 256 + " <sip:d@e>", "name", 256, harm.from_is('"n{255}" <')),
        ("n" * 256, "name", 256, harm.from_is('"n{255}" <')),
        ("n" * 300, "name", 300),
        ("n" * 254 + '"', "name", 256),
        ('"' + '\\"' * 128 + '" <sip:u@e>', "name", 256),
        (f"A <sip:{'u' * 256}@e>", "user", 256, harm.from_is('"A" <sip:u{255}@')),
        (f"A <{'u' * 256}>", "user", 256, harm.from_is('"A" <sip:u{255}@')),
        (f"A <{'ö' * 43}>", "user", 258))],
]  # fmt: skip

_XMPP_ADDRESSES = [
    Refusal("To beside Destination", {"to": "sip:zoe@e", "destination": "xmpp:bob@localhost"},
            InvalidAddress, "To", "where there is a Destination, xmpp " + _NO_OTHER_TO, XMPP,
            harm.xmpp_text_is(TEXT), whole=True),
    Refusal("without From", {"from_": None}, InvalidAddress, "From", "an xmpp message needs a From;"
            " give 'xmpp:' and the account's section of xmpp.conf", XMPP, harm.xmpp_failed,
            whole=True),
]  # fmt: skip

_ACTION_IDS = [
    Refusal(f"ActionID {value!r}", {"action_id": value}, error, "ActionID", words, EVERY,
            limit=limit, actual=actual)
    for value, error, words, limit, actual in (
        ("", InvalidHeader, "ActionID", None, None), (" a", InvalidHeader, "ActionID", None, None),
        ("a\r\nb", InvalidHeader, "ActionID", None, None),
        ("\ud800", InvalidHeader, "ActionID", None, None),
        ("x" * 68, LineTooLong, "ActionID", 67, 68),
        ("é" * 34, LineTooLong, "ActionID", 67, 68))
]  # fmt: skip

REFUSALS: List[Refusal] = [
    *_BODIES, *_VARIABLES, *_AMI_ADDRESSES, *_PJSIP_ADDRESSES, *_SIP_ADDRESSES, *_XMPP_ADDRESSES,
    *_ACTION_IDS,
]  # fmt: skip
