"""The messages that MessageSend rejects, in one table, with the damage that each would do."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple, Type

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
from tests import damage as harm
from tests.damage import Damage
from tests.live.versions import NO_CONTACT, SEMICOLON_IN_FROM, TO_WITHOUT_NAME, always

#: Technologies by the rules that they share; "other" has those of AMI alone.
SIP = ("sip", "pjsip")
AMI = ("other", *SIP)
EVERY = (*AMI, "xmpp")
PJSIP = ("pjsip",)
XMPP = ("xmpp",)

ASTERISK_11 = Banner("1.3")
ASTERISK_16 = Banner("5.0.4")
ASTERISK_18 = Banner("7.0.3")
ASTERISK_20 = Banner("9.0.0")
ASTERISK_22 = Banner("11.0.0")
ASTERISK_23 = Banner("12.0.0")
ODD = Banner("odd")
BANNERS = (ASTERISK_11, ASTERISK_16, ASTERISK_18, ASTERISK_20, ASTERISK_22, ASTERISK_23, ODD)

#: The body of a message that is rejected for another reason; no error may show it.
TEXT = "S3CR3T"

_MINIMAL = {
    "other": {"to": "other:alice"},
    "pjsip": {"to": "pjsip:alice"},
    "sip": {"to": "sip:alice"},
    "xmpp": {"to": "xmpp:bob@localhost", "from_": "xmpp:account"},
}


class Refusal(NamedTuple):
    """Arguments that are rejected, and the error."""

    name: str
    #: The arguments that differ from a minimal message of the technology. ``{at}`` in them is the
    #: phone's address, ``{port}`` its port, and ``{over}`` its port plus 65536.
    arguments: Dict[str, Any]
    error: Type[LocalProtocolError]
    field: str
    technologies: Tuple[str, ...] = SIP
    #: The damage that the message would do, or None if that was not tried.
    damage: Optional[Damage] = None
    #: Return True for the versions of Asterisk that do it; others send the message exactly.
    versions: Callable[[str], bool] = always
    #: Servers for which ``check_server`` rejects it, if it is exact on others.
    banners: Tuple[Banner, ...] = ()
    limit: Optional[int] = None
    actual: Optional[int] = None

    def asked(self, technology: str, port: int = 5060) -> Dict[str, Any]:
        """Return the arguments of MessageSend."""
        asked: Dict[str, Any] = {"body": TEXT, **_MINIMAL[technology], **self.arguments}
        return {name: filled(value, port) if isinstance(value, str) else value
                for name, value in asked.items()}  # fmt: skip

    def lines(self, technology: str, port: int) -> List[bytes]:
        """Return the lines of the action that would have been sent."""
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
    """Return the names and values of the variables among the arguments."""
    variables = asked.get("variables", {})
    return list(variables.items() if isinstance(variables, dict) else variables)


def name_of(value: object) -> Optional[str]:
    """Return a test id for a row, in ASCII because pytest escapes other characters."""
    if not isinstance(value, Refusal):
        return None
    return re.sub(r"[^\w .=-]+", "_", value.name, flags=re.ASCII)[:60]


def filled(text: str, port: int) -> str:
    """Return the text with the phone's address in it."""
    text = text.replace("{at}", "127.0.0.1:{port}").replace("{over}", str(port + 65536))
    return text.replace("{port}", str(port))


def _row(value: Any) -> Tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


# ---- the body


def _long_body(body: Any, limit: int, actual: int, damage: Optional[Damage] = None) -> Refusal:
    return Refusal(f"body of {actual} bytes", {"body": body}, BodyTooLong, "Body", EVERY, damage,
                   limit=limit, actual=actual)  # fmt: skip


def _bodies(technologies: Tuple[str, ...], *rows: Any) -> Iterator[Refusal]:
    """Yield a row for each: a body, or a body and its damage."""
    for row in rows:
        body, *done = _row(row)
        yield Refusal(f"body {body!r}", {"body": body}, InvalidBody, "Body", technologies, *done)


_BODIES = [
    _long_body("b" * 1017, 1016, 1017, harm.body_is_not(b"b" * 1017)),
    _long_body("é" * 508 + "x", 1016, 1017),
    _long_body("日" * 339, 1016, 1017),
    _long_body(b"x" * 1017, 1016, 1017),
    _long_body("a\n" + "b" * 756, 757, 758, harm.body_is_not(b"a\n" + b"b" * 756)),
    _long_body("x" * 757 + "\n", 757, 758),
    _long_body(" " + "x" * 757, 757, 758),
    _long_body("\t" * 758, 757, 758),
    # XML cannot carry a CR, so for xmpp the error is another.
    _long_body("x" * 2000 + "\r", 757, 2001)._replace(technologies=AMI),
    *_bodies(EVERY, ("ab\0cd", harm.body_is(b"ab")), b"\0", ("a\ud800", harm.undecodable),
             "\udcff"),
    *_bodies(XMPP, ("a\x01b", harm.xmpp_breaks), "a\x0bb", ("\x0c", harm.xmpp_breaks), "a\x1b[0m",
             "\x1f", ("\ufffe", harm.xmpp_breaks), "a\uffffb",
             ("a\rb\r\nc", harm.xmpp_text_is("a\nb\nc")),
             (b"a\xffb", harm.xmpp_breaks), (b"\xed\xa0\x80", harm.xmpp_breaks)),
]  # fmt: skip

# ---- variables


def _variable(
    name: str, value: str, technologies: Tuple[str, ...] = SIP,
    damage: Optional[Damage] = None, versions: Callable[[str], bool] = always,
) -> Refusal:  # fmt: skip
    return Refusal(f"variable {name}={value}", {"variables": {name: value}}, InvalidVariable, name,
                   technologies, damage, versions)  # fmt: skip


def _many(variables: Dict[str, str], technology: str, limit: int, actual: int,
          damage: Optional[Damage] = None, body: str = TEXT) -> Refusal:  # fmt: skip
    return Refusal(f"{len(variables)} variables", {"variables": variables, "body": body},
                   InvalidVariable, "Variable", (technology,), damage, limit=limit,
                   actual=actual)  # fmt: skip


def _numbered(count: int, value: str) -> Dict[str, str]:
    return {f"X-{number}": value for number in range(100, 100 + count)}


#: Names that the server reserves, and the compact names of headers that it writes itself.
RESERVED = ("To From Via Route Contact call-ID CSeq Allow Content-Length Request-URI").split()
COMPACT = {"C": "Content-Type", "f": "From", "i": "Call-ID", "l": "Content-Length", "m": "Contact",
           "T": "To", "v": "Via"}  # fmt: skip

_VARIABLES = [
    _variable("X", "", AMI, harm.values("X")),
    Refusal("variable twice", {"variables": [("B", "x"), ("x", "1"), ("X", "2")]}, InvalidVariable,
            "X", AMI, harm.values("X", b"2")),
    _variable("", "evil", AMI, harm.without(b"evil")),
    _variable("X=Y", "evil", AMI, harm.values("X", b"Y=evil")),
    _variable("X\x01", "evil", AMI, harm.no_token),
    *[_variable(name, "evil", AMI) for name in (" X", "X\tY", "X\r\nY", "X\ud800", "X\udcff")],
    _variable("X Y", "evil", SIP, harm.no_token),
    _variable("X:Y", "evil", SIP, harm.values("X", b"Y: evil")),
    _variable("Übung", "evil", SIP),
    _variable("X", "a\nb", AMI, harm.values("X", b"a")),
    _variable("X", "a\0b", AMI, harm.values("X", b"a")),
    _variable("X", "evil\0", AMI),
    # Exact, and yet a line end to many a phone; RFC 3261 allows none in a header.
    _variable("X", "a\rX-Injected: b", AMI, harm.contains(b"\rX-Injected: b\r\n")),
    _variable("X", "evil\r", AMI),
    _variable("X", "a\udcff", AMI, harm.undecodable),
    _variable("X", "\ud800", AMI),
    *[_variable(name, "Evil", damage=harm.without(b"Evil")) for name in RESERVED],
    # 22 sends no Contact with a MESSAGE, but the rule is the same for all servers.
    *[_variable(name, "evil", SIP, harm.two(long), NO_CONTACT.before if name == "m" else always)
      for name, long in COMPACT.items()],
    _variable("User-Agent", "Mine", ("sip",), harm.two("User-Agent")),
    _variable("Max-Forwards", "70", damage=harm.has_value("Max-Forwards", b"69")),
    _variable("Max-Forwards", "0",
              damage=harm.either(harm.failed, harm.has_value("Max-Forwards", b"-1"))),
    Refusal("variable after a bad Max-Forwards", {"variables": {"Max-Forwards": "x", "X": "1"}},
            InvalidVariable, "Max-Forwards", damage=harm.either(harm.failed, harm.values("X"))),
    _variable("Content-Type", "text/html;charset=x", PJSIP,
              harm.values("Content-Type", b"text/html")),
    _variable("Content-Type", "junk", PJSIP, harm.values("Content-Type", b"text/plain")),
    _many(_numbered(54, "v"), "sip", 53, 54, harm.no_length),
    _many({**_numbered(54, "v"), "Content-Type": "a/b"}, "sip", 53, 54),
    _many(_numbered(66, "v" * 1000), "pjsip", 65507, 67681, harm.lost),
    _many(_numbered(63, "v" * 1000), "pjsip", 65507, 65648, body="x" * 1000),
    _many(_numbered(5000, "v" * 20), "pjsip", 65507, 150187),
    # Two of them do not fit into one line, and all of them would fit into a datagram.
    Refusal("129 lines", {"variables": _numbered(126, "v" * 500)}, TooManyLines, "Variable",
            ("other", "pjsip"), harm.too_many_lines, limit=128, actual=130),
    Refusal("line of 1023 bytes", {"variables": {"X": "v" * 1011}}, LineTooLong, "X", AMI,
            harm.no_header("X"), limit=1022, actual=1023),
    Refusal("line with escapes", {"variables": {"X-A": "ok", "X-B": "," * 605}}, LineTooLong, "X-B",
            AMI, limit=1022, actual=1224),
    Refusal("line of two bytes each", {"variables": {"X-B": "é" * 505}}, LineTooLong, "X-B", AMI,
            limit=1022, actual=1024),
    Refusal("variable of xmpp", {"variables": {"X": "1"}}, InvalidVariable, "Variable", XMPP,
            harm.xmpp_text_is(TEXT)),
]  # fmt: skip

# ---- addresses


def _address(argument: str, value: str, damage: Optional[Damage] = None) -> Refusal:
    """Return the row of an address that AMI cannot carry, for any technology."""
    field = {"to": "To", "from_": "From", "destination": "Destination"}[argument]
    return Refusal(f"{field} {value!r}", {argument: value}, InvalidAddress, field, AMI, damage)


def _targets(technology: str, start: str, *rows: Any) -> Iterator[Refusal]:
    """Yield rows for the target as To and as Destination: its rest, the damage, the versions."""
    for row in rows:
        rest, *done = _row(row)
        to = start + rest
        yield Refusal(f"To {to}", {"to": to}, InvalidAddress, "To", (technology,), *done)
        yield Refusal(f"Destination {to}", {"to": "sip:zoe@e", "destination": to}, InvalidAddress,
                      "Destination", (technology,))  # fmt: skip


def _froms(technology: str, *rows: Any) -> Iterator[Refusal]:
    """Yield a row for each: a From, its damage, the versions."""
    for row in rows:
        from_, *done = _row(row)
        yield Refusal(f"From {from_}", {"from_": from_}, InvalidAddress, "From", (technology,),
                      *done)  # fmt: skip


def _tos(rows: Iterable[Any], *banners: Banner) -> Iterator[Refusal]:
    """Yield a row for each To with another Destination: the To, its damage, the versions."""
    for row in rows:
        to, *done = _row(row)
        yield Refusal(f"{to} with Destination", {"to": to, "destination": "pjsip:alice"},
                      InvalidAddress, "To", PJSIP, *done)._replace(banners=banners)  # fmt: skip


def _cut(from_: str, size: int, damage: Optional[Damage] = None) -> Refusal:
    return Refusal(f"{size} bytes in From", {"from_": from_}, InvalidAddress, "From", ("sip",),
                   damage, limit=255, actual=size)  # fmt: skip


_DEFAULT = r"<sip:alice@127\.0\.0\.1>;tag"
_BRACKETS = r"<sip:a@[0-9.:]+>$"

_AMI_ADDRESSES = [
    _address("to", "", harm.failed),
    _address("from_", "", harm.from_is(".*<sip:")),
    _address("destination", ""),
    *[Refusal(f"{size} bytes of From", {"from_": "n" * (size - 6)}, LineTooLong, "From", AMI,
              harm.from_is_not(b"n" * 256), limit=1022, actual=size) for size in (1023, 5_000_000)],
    Refusal("long To", {"to": "pjsip:" + "é" * 1020}, LineTooLong, "To", PJSIP, limit=1022,
            actual=2050),
    *[_address(argument, value)
      for value in (" other:x", "other:x\r\n\r\nAction: Ping", "\tother:x", "other:\x7f",
                    "other:\0", "other:\ud800", "other:\udcff")
      for argument in ("to", "from_", "destination")],
    *[row for technology in SIP for row in _targets(
        technology, f"{technology}:",
        ("alice\r\nVariable: X-Injected=1", harm.values("X-Injected", b"1")))],
    # Exact, and yet not a valid header by RFC 3261.
    _address("from_", "A\x01B <sip:d@e>", harm.from_is(".*\x01")),
    _address("from_", "\tA <sip:d@e>", harm.from_is('"A" <')),
    _address("from_", "A\r\nBody: evil", harm.body_is(b"evil")),
    _address("from_", ' "A" <sip:d@e>')._replace(technologies=("other",)),
    _address("from_", "A\ud800 <sip:d@e>", harm.undecodable),
    *[row for technology in SIP for row in _targets(
        technology, "", ("alice", harm.unknown), "1001", "Zoe <sip:zoe@e>", "ö:x")],
    *_targets("pjsip", "", ("pjsip/alice", harm.unknown), "PJSIP/bob@alice",
              ("PJSIP:alice", harm.unknown), ("pjsip:", harm.failed)),
    *_targets("sip", "", ("SIP:alice", harm.unknown), "Sip:alice", ("sip:", harm.failed)),
    *_targets("other", "", "other:"),
    # Such a server is not available here.
    *[Refusal("Destination to Asterisk 11",
              {"to": "sip:zoe@e", "destination": f"{technology}:alice"}, InvalidAddress,
              "Destination", (technology,), banners=(ASTERISK_11,))
      for technology in ("other", "pjsip")],
]  # fmt: skip

_PJSIP_ADDRESSES = [
    *_targets(
        "pjsip", "pjsip:",
        ("alice ", harm.lost), "PJSIP/bob@alice ",
        "a:b", "/sip:bob@host", "alice/", "alice/ sip:bob@host", "sip:@host", "sip:a@[::1%lo]",
        ("alice/100", harm.lost), "alice/+4917", "trunk-1/0049", "+4917@trunk",
        ("alice@example.org", harm.uri_is("sip:alice@{at}")),
        ("alice@", harm.uri_is("sip:alice@{at}")), "@alice", "sip:b/c@host",
        ("SIP:bob@{at}", harm.uri_is("sip:SIP:bob@{at}")),
        ("alice/Sip:bob@{at}", harm.uri_is("sip:Sip:bob@{at}")), "<SIP:bob@host>",
        ("sips:a@{at}", harm.lost), "alice/tel:+5",
        ("sip:a@{at}?X-A=1%0d%0aX-Injected:%201", harm.values("X-Injected", b"1")),
        "sip:host?Subject=x", "alice?x=1",
        ("sip:a%3Bb@{at}", harm.uri_is("sip:a;b@{at}")),
        ("alice/sip:a%2bb@{at}", harm.uri_is("sip:a+b@{at}")),
        ("sip:a%2541b@{at}", harm.uri_is("sip:a%41b@{at}")),
        ("sip:a:b%24@{at}", harm.uri_is("sip:a:b$@{at}")),
        ("PJSIP/a%26b@alice", harm.uri_is("sip:a&b@{at}")),
        "PJSIP/a%25b@alice", "PJSIP/a:b@alice", "PJSIP/alice", "sip:a%zz@host",
        ("sip:a#b@{at}", harm.uri_is("sip:a%23b@{at}")), "sip:ö@host",
        "sip:a@[1.2.3.4]", "sip:a%22%3A@[1]", "[.]",
        ("[127.0.0.1]:{port}", harm.uri_is("sip:{at}")), "sip:a@ho st",
        ("sip:a@127.0.0.1:0{port}", harm.uri_is("sip:a@{at}")),
        "sip:a@{at};transport=sctp", "sip:a@{at};transport=", "sip:a@127.0.0.1:{over}",
        "sip:a@host:65536", "sip:host:", "sip:a@host:99999;x",
        ("sip:a@{at};method=INVITE", harm.uri_is("sip:a@{at}")),
        ("sip:a@{at};x=", harm.uri_is("sip:a@{at};x")),
        ("sip:a@{at};x=1;user=phone", harm.uri_is("sip:a@{at};user=phone;x=1")),
        ("sip:a@{at};lr=on", harm.uri_is("sip:a@{at};lr")),
        ("sip:a@{at};LR", harm.uri_is("sip:a@{at};lr")),
        ("sip:a@{at};transport=udp;transport=udp", harm.uri_is("sip:a@{at};transport=udp")),
        ('sip:a@{at};x="a b"', harm.uri_is('sip:a@{at};x="a b"')),
        ("sip:a@{at};user=a%20b", harm.uri_is("sip:a@{at};user=a b")),
        ("sip:a@{at};x=%5B", harm.uri_is("sip:a@{at};x=[")), "sip:a@{at};x=%2B",
        ("sip:a@{at};x=%22", harm.uri_is('sip:a@{at};x="')),
        "<sip:bob@host>;x=1", "alice/Bob <sip:bob@host", "alice/<sip:b@h>?x", "alice/<sip:b@h>?x>",
        "alice/sips:b@h/x", "tel:5/x", "sip:a@HOST:0", "sip:a@b;x@c", "sip:a;b@", "sip:a?b@"),
    *_froms(
        "pjsip",
        ("Door Bell", harm.from_is("<sip:Door%20Bell@127")), "Door>",
        ("A:B <sip:d@e>", harm.from_is("<sip:A%3aB%20%3csip%3ad@e>>")),
        ('A "x" <sip:d@e>', harm.from_is('(?!"A \\\\"x\\\\"" <sip)')), "back\\slash <sip:door@e>",
        ("<sip:d@e:99>", harm.from_is("<sip:d@e>")), "sip:e:5060", "sip::5",
        '"A" <sip:d@e:99>',
        ("<sip:d@e;user=phone>", harm.from_is(r"<sip:(%3csip%3a)?d@e>")),
        ("<sip:d@e?Subject=x>", harm.from_is("<sip:d@e>")),
        ("<sip:d:p@e>", harm.from_is("<sip:d@e>")),
        ("<sips:d@e>", harm.from_is("<sip:d@e>")), "sips:door@e",
        ("tel:5", harm.from_is(_DEFAULT)),
        ("<sip:d@e> ", harm.from_is("<sip:%3csip%3ad@e> >")),
        ("<sip:d@e>;x=y", harm.from_is("(?!<sip:d@e>;x=y)")), "Door <sip:door@e",
        ("<sip:ö@e>", harm.from_is("<sip:%3csip%3a%c3%b6@e>>")),
        ("<sip:a%2Bb@e>", harm.from_is(r"<sip:a\+b@e>")),
        ("sip:a%2541@e.org", harm.from_is("<sip:a%41@e.org>")), "a%zz@e",
        ("sip:a@[1.2.3.4]", harm.from_is("<sip:a@1.2.3.4>")), "d@[1]", "d@e:5060", "sip:@e",
        "sip:a@b;x@c", "sip:a;b@", "sip:d@[::1%]", "d@[::1]:0", "d@[::1%lo]:5",
        "A <x:y <sip:d@e>", "A <x <sips:d@e>", "A> <sips:d@e>",
        "A <x> <sip:d@e"),
    # It is cut only if there is an @.
    *[row._replace(banners=tuple(set(BANNERS) - {ASTERISK_23})) for row in _froms(
        "pjsip",
        ('"A;B" <sip:d@e>', harm.from_is('(?!"A;B")'), SEMICOLON_IN_FROM.before),
        ("sip:a;b@e", harm.from_is("<sip:a>"), SEMICOLON_IN_FROM.before), "A;B <sip:d@e>",
        "a;b@e")],
    *_tos([("zoe", harm.to_is("<sip:alice@")), "pjsip:bob",
           ("sip:zoe@e:99", harm.to_is("<sip:zoe@e>")), "sip:zoe@e;transport=udp", "sip:zoe@e;lr",
           "sip:zoe@e;x=1;user=phone", "sips:zoe@e", "sip:zoe@e:0",
           ("sip:100%25@e", harm.to_is("<sip:100%@e>")), "Zoe <sip:zoe@e>;x=1", "pjsip:sips:zoe@e",
           "sip:z@[1]"]),
    *_tos([("SIP:zoe@e", harm.to_is("<sip:alice@"), TO_WITHOUT_NAME.since),
           ("Zoe <sip:zoe@example.org>", harm.to_is("<sip:alice@"), TO_WITHOUT_NAME.since),
           "<sip:zoe@e>", "pjsip:SIP:zoe@e"], ASTERISK_20, ASTERISK_22, ASTERISK_23, ODD),
    *[Refusal(f"endpoint in the name of To: {to}", {"to": to, "destination": to}, InvalidAddress,
              "To", PJSIP, damage, TO_WITHOUT_NAME.before)
      for to, damage in (("pjsip:alice/Bob <sip:b@{at}>", harm.to_is('"alice/Bob" <')),
                         ("pjsip:alice/<sip:b@h>", None))],
]  # fmt: skip

_SIP_ADDRESSES = [
    *_targets(
        "sip", "sip:",
        "alice ", "alice/bob", "a@b@alice", ("a@{at};x=y", harm.to_is(_BRACKETS)), "bob@host?X=1",
        ("a@127.0.0.1:0{port}", harm.to_is(r"<sip:a@127\.0\.0\.1:[1-9]")), "<sip:bob@host:00>",
        ("a@127.0.0.1:{over}", harm.uri_is("sip:a@{at}")), "a@h:65536", "host:99999",
        ("a@127.0.0.1:+{port}", harm.uri_is("sip:a@{at}")), "a@h:", "<a@h:>", "a@h:5x", "a@::1",
        ("@{at}", harm.uri_is("sip:{at}")), ("<sip:@{at}>", harm.uri_is("sip:{at}")), "@alice",
        ("a%20b@{at}", harm.to_is("<sip:a%2520b@")), "%2B49@host", "%C3%B6@host", "%7E@host",
        "%7F@host", "a@b%20c@alice", "a@b;c@alice", "a;b@c@alice",
        ("Zoe <sip:a@{at}>", harm.to_is(_BRACKETS)), ("<sip:a@{at}?X=1>", harm.to_is(_BRACKETS)),
        "<sip:bob@host", "<sip:bob@host>x", ("sip:a@{at}", harm.to_is("<sip:sip%3Aa@")),
        "sips:bob@host", ("<sips:a@{at}>", harm.to_is("<sip:a@"))),
    *[row._replace(limit=255, actual=size) for size, user, damage in (
        (258, "ö" * 43, None), (256, "u" * 256, harm.to_is("<sip:u{255}@")))
      for row in _targets("sip", "sip:", (user + "@{at}", damage))],
    Refusal("To with another Destination", {"to": "sip:zoe@e", "destination": "sip:alice"},
            InvalidAddress, "To", ("sip",), harm.to_is("<sip:127")),
    *_froms(
        "sip",
        (" Door", harm.from_is('"Door" <sip:asterisk@')), " Bell 12:30", " ",
        ("d@e", harm.from_is('"d@e" <sip:asterisk@')),
        ("sip:d@e", harm.from_is('"sip:d@e" <sip:asterisk@')), "sip:door", "tel:+491234", "d@e ",
        ("<sip:d@e>", harm.from_is('"asterisk" <sip:d@e:')),
        ('"" <sip:d@e>', harm.from_is('"asterisk" <sip:d@e:')), '" <sip:d@e>',
        ("A\\B <sip:d@e>", harm.from_is('"AB" <')),
        ('"A"B" <sip:d@e>', harm.from_is(r'"A\\"B" <')),
        ("A <sip:d@e:99>", harm.from_is('"A" <sip:d@e:(?!99)')), "A <sip:d@e:99> ",
        ("A <sip:d@e;user=phone>", harm.from_is('"A" <sip:d@e:[0-9]+>')),
        ("A <sip:d@e?Subject=x>", harm.from_is('"A" <sip:d@e:[0-9]+>')),
        ("A <sip:d@[::1]>", harm.from_is('"A" <sip:d@::1:')), "A <sip:door@[1]>",
        ("A <sip:e>", harm.from_is('"A" <sip:asterisk@e')),
        ("A <d@e>", harm.from_is('"A" <sip:d%40e@127')), "A <>",
        ("A <sips:d@e>", harm.from_is('"A" <sip:d@e')),
        ("A <tel:5>", harm.from_is('"A" <sip:asterisk@tel')),
        ("A <sip:d:p@e>", harm.from_is('"A" <sip:d%3Ap@e')),
        ("A <sip:a%00b@e>", harm.from_is('"A" <sip:a@e')),
        ("A <sip:a%2Bb@e>", harm.from_is(r'"A" <sip:a\+b@e')), "A <sip:a%zz@e>", "A <sip:ö@e>",
        "A <sip:d@e f>", "A <%2B49>", "A <sip:d@e:0>", "A <sip:d@e",
        ("A <sip:d@e>x", harm.from_is('"A" <sip:d@e:[0-9]+>')), "A <sip:d@e>X",
        "A <sip:d@e>\u2003", "A <sip:e>@:x>"),
    _cut("n" * 256 + " <sip:d@e>", 256, harm.from_is('"n{255}" <')),
    _cut("n" * 256, 256, harm.from_is('"n{255}" <')),
    _cut("n" * 300, 300),
    _cut("n" * 254 + '"', 256),
    _cut('"' + '\\"' * 128 + '" <sip:u@e>', 256),
    _cut(f"A <sip:{'u' * 256}@e>", 256, harm.from_is('"A" <sip:u{255}@')),
    _cut(f"A <{'u' * 256}>", 256, harm.from_is('"A" <sip:u{255}@')),
    _cut(f"A <{'ö' * 43}>", 258),
]  # fmt: skip

_XMPP_ADDRESSES = [
    Refusal("To with another Destination", {"to": "sip:zoe@e", "destination": "xmpp:bob@localhost"},
            InvalidAddress, "To", XMPP, harm.xmpp_text_is(TEXT)),
    Refusal("without From", {"from_": None}, InvalidAddress, "From", XMPP, harm.xmpp_failed),
]  # fmt: skip

_ACTION_IDS = [
    Refusal(f"ActionID {value!r}", {"action_id": value}, error, "ActionID", EVERY, limit=limit,
            actual=actual)
    for value, error, limit, actual in (
        ("", InvalidHeader, None, None), (" a", InvalidHeader, None, None),
        ("a\r\nb", InvalidHeader, None, None), ("\ud800", InvalidHeader, None, None),
        ("x" * 68, LineTooLong, 67, 68), ("é" * 34, LineTooLong, 67, 68))
]  # fmt: skip

REFUSALS: List[Refusal] = [
    *_BODIES, *_VARIABLES, *_AMI_ADDRESSES, *_PJSIP_ADDRESSES, *_SIP_ADDRESSES, *_XMPP_ADDRESSES,
    *_ACTION_IDS,
]  # fmt: skip
