"""Generated addresses: after Success, the phone sees exactly the addresses that were given.

Accepted messages are sent, and the addresses that arrive are compared with a reading of the given
ones by the rules of SIP alone. Rejected messages are sent unchecked, and those that arrive exactly
are counted by rule. A rejection is needed even so if another configuration of the server, or
another version with the same banner, would alter the message.

``AMICLIENT_LIVE_EXAMPLES`` is the number of addresses for each server and technology, and
``AMICLIENT_LIVE_SEED`` the seed of the generator.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import pytest

from amiproto import Banner, LocalProtocolError, MessageSend
from tests.live.address_oracle import Wanted, reader_of, seen_at_phone
from tests.live.delivery import Delivery, report, require, wire
from tests.live.pipelined import SendOutcome, send_pipelined
from tests.live.servers import Live

EXAMPLES = int(os.environ.get("AMICLIENT_LIVE_EXAMPLES") or 600)
SEED = int(os.environ.get("AMICLIENT_LIVE_SEED") or 20)

#: Limit for needless rejections, in percent of all rejections.
MOST_NEEDLESS = {"sip": 3, "pjsip": 1}

#: Endpoints with names that look like addresses.
_ENDPOINTS = ("alice", "al@two", "bo;b")
_ENDPOINT = """
[{name}]
type = endpoint
disallow = all
allow = ulaw
aors = alice
"""
_EXTRA = "".join([_ENDPOINT.format(name=name) for name in ("al@two", "bo\\;b")])


class Case(NamedTuple):
    """Addresses of one message."""

    to: str
    from_: Optional[str] = None
    destination: Optional[str] = None


# ---- the generator

_SAFE_USERS = ["bob", "+49170", "1001", "a.b-c_d", "o'neil", "(x)", "a!b~c*", "b&c=d+e$f,g", "zoë"]
_MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ "
_NAMES = [
    *["Door", "Door Bell", "A, B", "Tür 🚪"] * 8, "A.B", "A@B", "A:B", "A;B", "A>B", "A<B",
    "Bell 12:30", "Door: front", 'Joe "Jo" Doe', '"Jo" Doe', "O'Neil", "back\\slash", "%41", "A/B",
    "", "  two  ", "[x]", "a=b", "sip:d@e", "#1", "$x", "(c)", "A\\\\B", '"', "\\", "'q'", "é",
    "A&B", "*", "x@y",
]  # fmt: skip
_HOSTS = [
    "example.org", "EXAMPLE.Org", "e", "1.2.3.4", "a_b", "e.", "-x..y", "[::1]", "[2001:db8::1]",
    "[fe80::1%eth0]",
]  # fmt: skip
_ODD_HOSTS = [
    "[1]", "[.]", "[1.2.3.4]", "[]", "e:5060", "e:", "e:0", "e:05060", "ex é", "e%41", "", "e ",
    "::1", "e;user=phone", "e;x", "e?Subject=x", "e/x", "e@f", "e:99999",
]  # fmt: skip
_PARAMETERS = [
    "user=phone", "user=ip", "transport=udp", "transport=TCP", "transport=tcp", "ttl=5",
    "maddr=127.0.0.1", "lr", "x=1", "x", "y=a:b", "z=[1]", "x=a+b&c$", "ext=3", "a-b=c.d", "x=1",
    "x%20y=1", "x=a%20b", "X=Y",
]  # fmt: skip
_ODD_PARAMETERS = [
    "transport=sctp", "transport=", "method=INVITE", "lr=on", "LR",
    "USER=phone", "User=phone", "Transport=udp", "x=", "x=a/b", 'x="a b"', 'x="ab"', "x=a=b", "",
    "user=a%20b", "user=", "ttl=256", "ttl=05", "x=a,b", "x=é", "x=a b", "=1", "x=#",
]  # fmt: skip
_ODD_WORDS = [
    "", " ", "alice", "a b", "tel:5", "sip:", "<>", "<sip:>", '"', "é", "A\\", "*", "a@b@c", "%",
    "@", "sip:e", "mailto:a@b", "xmpp:a@b", "Door", "1001", "a;b", "12:30", "5>", "a%41",
]  # fmt: skip

_PHONE = "127.0.0.1:{P}"
_ODD_PHONES = [
    "127.0.0.1:0{P}", "[127.0.0.1]:{P}", "127.1:{P}", "127.0.0.1:{P};x=1", "127.0.0.1:{P}?X-A=1",
    "127.0.0.1:{P} ", "127.0.0.1:{P}/x", "127.0.0.1:{P},e", "127.0.0.1.:{P}", "127.0.0.1:+{P}",
    "127.0.0.1:{O}", "127.0.0.1:", "127.0.0.1",
]  # fmt: skip


class Generator:
    """Generates cases of one technology from a seed."""

    def __init__(self, technology: str, seed: int) -> None:
        self._random = random.Random(f"{technology} {seed}")
        self._technology = technology

    def case(self) -> Case:
        """Return a case, in which usually only one address is odd."""
        draw = self._random.random()
        if draw < 0.35:
            return Case(self._alice(), self._from())
        if draw < 0.7:
            return Case(self._target())
        if draw < 0.75:
            return Case(self._target(), self._from())
        if draw < 0.8:
            target = self._target()
            return Case(target, None, target)
        if draw < 0.97:
            return Case(self._to_header(), None, self._alice())
        return Case(self._to_header(), self._from(), self._target())

    def _one(self, *kinds: Any) -> Any:
        return self._random.choice(kinds)

    def _maybe(self, chance: float) -> bool:
        return self._random.random() < chance

    def _alice(self) -> str:
        return f"{self._technology}:alice"

    def _user(self) -> str:
        kind = self._random.randrange(10)
        if kind < 5:
            return str(self._one(*_SAFE_USERS))
        if kind < 7:
            code = self._random.randrange(256)
            return f"a%{code:02x}b" if self._maybe(0.5) else f"a%{code:02X}b"
        if kind == 7:
            return f"a{self._one(*_MARKS)}b"
        if kind == 8 and self._maybe(0.5):
            size = self._random.randrange(1, 7)
            return "".join(self._random.choice("aB1" + _MARKS + "é") for _ in range(size))
        return str(
            self._one("", "%", "%4", "%zz", "%2541", "%%41", "u" * 255, "u" * 256, "d;ext=3", "a:b")
        )

    def _escaped(self) -> str:
        """Return a word with an escape, or with a character that may need one."""
        code = self._random.randrange(256)
        return f"w%{code:02X}x" if self._maybe(0.7) else f"w{self._one(*_MARKS)}x"

    def _parameters(self) -> str:
        pool = _PARAMETERS + (_ODD_PARAMETERS if self._maybe(0.2) else [])
        chosen = [self._one(*pool) for _ in range(self._one(0, 0, 0, 1, 1, 2, 3, 5))]
        if self._maybe(0.7):
            # The order in which pjsip writes them.
            rank = {word: number for number, word in enumerate(_PARAMETERS)}
            chosen.sort(key=lambda word: rank.get(word, len(rank)))
        if self._maybe(0.1):
            word = self._escaped()
            chosen.append(self._one(f"x={word}", word, f"{word}=1"))
        return "".join(f";{word}" for word in chosen)

    def _scheme(self) -> str:
        return str(self._one(*["sip:"] * 40, "SIP:", "Sip:", "sips:", "tel:", "", "sip:sip:"))

    def _uri(self, host: str) -> str:
        """Return a URI with this host."""
        userinfo = ""
        if self._maybe(0.85):
            userinfo = self._user()
            if self._maybe(0.08):
                userinfo += ":" + self._one("pw", "", "p:w", self._escaped())
            userinfo += "@"
        return f"{self._scheme()}{userinfo}{host}"

    def _named(self, uri: str) -> str:
        """Return the URI, alone or with a name and brackets."""
        name = str(self._one(*_NAMES))
        if self._maybe(0.15):
            name += self._one(*_MARKS)
        quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        form = self._one(
            *["{uri}"] * 8, *["{name} <{uri}>"] * 8, *["{quoted} <{uri}>"] * 8, "<{uri}>",
            "{name}<{uri}>", "{quoted}<{uri}>", "{name}   <{uri}>", "<{uri}> ", "<{uri}>x",
            "{name} <{uri}", "<{uri}>;x=1", '"{name}" <{uri}>', "{name} {quoted} <{uri}>",
        )  # fmt: skip
        return str(form.format(name=name, quoted=quoted, uri=uri))

    def _host(self) -> str:
        return str(self._one(*(_HOSTS if self._maybe(0.9) else _ODD_HOSTS)))

    def _from(self) -> str:
        if self._maybe(0.06):
            return str(self._one(*_ODD_WORDS, *_NAMES))
        host = self._host()
        if self._maybe(0.04):
            return f" {self._named(self._uri(host))}"
        if self._maybe(0.08):
            return str(self._one(self._user(), f"{self._user()}@{host}", f"Door <{self._user()}>"))
        return self._named(self._uri(host))

    def _to_header(self) -> str:
        if self._maybe(0.1):
            return str(self._one("pjsip:alice", "sip:alice", "zoe", "pjsip:alice/sip:b@e"))
        to = self._named(self._uri(self._host() + self._parameters()))
        return self._one("", "", "pjsip:") + to if self._technology == "pjsip" else to

    def _target(self) -> str:
        place = _PHONE if self._maybe(0.85) else self._one(*_ODD_PHONES)
        if self._technology == "sip":
            return f"sip:{self._sip_target(place)}"
        return f"{self._one(*['pjsip'] * 30, 'PJSIP')}:{self._pjsip_target(place)}"

    def _sip_target(self, place: str) -> str:
        kind = self._random.randrange(12)
        if kind < 3:
            return f"{self._user()}@{place}"
        if kind < 5:
            return f"{self._user()}@alice"
        if kind < 7:
            return f"<sip:{self._user()}@{place}>"
        if kind == 7:
            return self._named(self._uri(place))
        if kind == 8:
            return f"{self._user()}@{place}{self._parameters()}"
        return str(self._one(
            "alice", place, "@alice", f"<sip:{place}>", "alice;x=1", "alice ", "ALICE", "alice?X=1",
            f"sip:bob@{place}", f"sips:bob@{place}", f"<bob@{place}>", f"<sips:bob@{place}>",
            "alice:99", "<sip:alice>", "alice/bob", "<sip:bob@alice>",
        ))  # fmt: skip

    def _pjsip_target(self, place: str) -> str:
        kind = self._random.randrange(16)
        uri = self._uri(place + (self._parameters() if self._maybe(0.6) else ""))
        endpoint = self._one("alice", "alice", "al@two", "bo;b")
        if kind < 4:
            return uri
        if kind < 8:
            return f"{endpoint}/{uri}"
        if kind == 8:
            return self._named(uri)
        if kind == 9:
            return f"{endpoint}/{self._named(uri)}"
        if kind < 12:
            return f"PJSIP/{self._user()}@{endpoint}"
        if kind == 12:
            return f"{self._user()}@{self._one(place, 'alice', 'two')}"
        if kind == 13:
            return f"{endpoint}/{self._user()}@{place}{self._parameters()}"
        return str(self._one(
            "alice", "bo;b", "al@two", "alice/alice", place, f"alice/{place}", "alice ",
            "alice@two", "alice@", "alice/", f"/sip:b@{place}", f"alice//sip:b@{place}",
            f"alice/ sip:b@{place}", f"nosuch/sip:b@{place}", "Pjsip/b@alice", "PJSIP/alice",
            "PJSIP/@alice", "@alice", f"sip:b@{place},sip:c@{place}", f"xsip:b@{place}",
            place + self._parameters(),
        ))  # fmt: skip


# ---- the test


@pytest.fixture(scope="module")
def wide(live: Live) -> Iterator[Live]:
    """A server with more endpoints."""
    with live.another_server({"pjsip.conf": _EXTRA}) as server:
        yield Live(server, live.phone)


def _raw(case: Case, key: str) -> bytes:
    lines = ["Action: MessageSend", f"ActionID: {key}"]
    headers = zip(("To", "From", "Destination"), case)
    lines += [f"{name}: {value}" for name, value in headers if value is not None]
    return wire([*lines, f"Body: {key}"])


def _is_exact(wanted: Optional[Wanted], shot: SendOutcome) -> bool:
    return wanted is not None and [seen_at_phone(m) for m in shot.messages] == [wanted]


def _rule(error: LocalProtocolError) -> str:
    """Return the message of an error without the parts that depend on the address."""
    message = re.sub(r"\.\.\. \([0-9]+ characters\)", "", str(error))
    message = re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\[\S*\]", "...", message)
    return re.sub("; .*", "", re.sub(r"%[0-9A-Fa-f]{2}|[0-9]+ bytes|sent as \S+,", "#", message))


def _cases(technology: str, port: int) -> List[Case]:
    generator = Generator(technology, SEED)
    cases: List[Case] = []
    while len(cases) < EXAMPLES:
        texts = [
            text and text.replace("{P}", str(port)).replace("{O}", str(port + 65536))
            for text in generator.case()
        ]
        if all(text is None or text.isprintable() for text in texts):
            cases.append(Case(*texts))  # type: ignore[arg-type]
    return cases


def test_success_is_exact_and_rejections_are_needed(
    wide: Live, technology: str, pytestconfig: pytest.Config
) -> None:
    live, banner = wide, Banner(wide.server.ami_version)
    reader = reader_of(live, technology, _ENDPOINTS)
    cases = _cases(technology, live.phone.port)
    accepted: List[Tuple[Case, str, bytes]] = []
    rejected: List[Tuple[Case, str, LocalProtocolError]] = []
    for number, case in enumerate(cases):
        key = f"case {number}"
        try:
            message = MessageSend(case.to, key, case.from_, None, case.destination, key)
            message.check_server(banner)
            accepted.append((case, key, message.wire))
        except LocalProtocolError as error:
            rejected.append((case, key, error))

    counts: Counter[str] = Counter()
    wrong: List[str] = []
    shots = send_pipelined(live, technology, [(key, data) for _, key, data in accepted])
    at_phone = re.compile(rf"sips?:(?:[^@]*@)?127\.0\.0\.1:{live.phone.port}(?:[;?]|\Z)")
    for (case, _, _), shot in zip(accepted, shots):
        wanted = reader.wanted(*case)
        if not shot.succeeded:
            counts[f"rejected by the server: {shot.response.decode()}"] += 1
            assert not shot.messages
        elif _is_exact(wanted, shot):
            counts["exact"] += 1
        elif not shot.messages and wanted is not None and not at_phone.match(wanted.uri):
            counts["routed to another host"] += 1
        else:
            seen = [(m.request_uri, m.header("To"), m.header("From")) for m in shot.messages]
            wrong.append(f"{case}: {wanted} expected, {seen} received")

    unchecked = [(key, _raw(case, key)) for case, key, _ in rejected]
    rules: Counter[str] = Counter()
    exact_by_rule: Dict[str, List[Case]] = {}
    for (case, _, reason), shot in zip(rejected, send_pipelined(live, technology, unchecked)):
        rule = _rule(reason)
        rules[rule] += 1
        if shot.succeeded and _is_exact(reader.wanted(*case), shot):
            exact_by_rule.setdefault(rule, []).append(case)

    all_exact = [case for cases in exact_by_rule.values() for case in cases]
    needless = [case for case in all_exact if not _depends_on_the_server(case)]
    lines = [f"Asterisk {live.server.version} {technology}: {len(cases)} addresses, seed {SEED}"]
    lines += [f"{count:8} {what}" for what, count in counts.most_common()]
    lines.append(f"{len(wrong):8} Success, but not exact")
    lines.append(
        f"{len(rejected):8} rejected; {len(all_exact)} were exact, {len(needless)} needless"
    )
    for rule, count in rules.most_common():
        exact = exact_by_rule.get(rule, [])
        lines.append(f"{len(exact):8} of {count}: {rule}  {exact[:1] or ''}")
    report(pytestconfig, lines + wrong[:20])
    assert not wrong, wrong[0]
    assert len(needless) * 100 <= MOST_NEEDLESS[technology] * max(len(rejected), 100), needless[:9]


def _depends_on_the_server(case: Case) -> bool:
    """Return True for pjsip addresses that are exact only on some servers."""
    target = case.to if case.destination is None else case.destination
    if not target.startswith("pjsip:"):
        return False
    # An endpoint with the name of the user would receive the message.
    if re.match(r"pjsip:[^/:<]*@", target):
        return True
    # A From is cut at its semicolon by 22.0, not by 22.10.
    if case.from_ is not None and ";" in case.from_ and "@" in case.from_:
        return True
    # 22.0 takes the endpoint for a part of the name.
    return case.destination == case.to and "/" in target and "<" in target


@pytest.mark.parametrize(
    "form", ["pjsip:alice/{}", "pjsip:{}", "pjsip:alice/Bob <{}>", "pjsip:alice/<{}>"]
)
@pytest.mark.parametrize("transport", ["tcp", "TCP"])
def test_transport_of_a_target_is_used(live: Live, form: str, transport: str) -> None:
    require(live, "pjsip")
    uri = f"sip:bob@127.0.0.1:{live.phone.port};transport={transport}"
    with Delivery(live, "pjsip") as delivery:
        delivery.send(to=form.format(uri), body="by TCP")
        message = live.phone.next_message()
    assert (message.request_uri, message.body) == (uri, b"by TCP")
    assert b"/TCP " in (message.header("Via") or b"")
