"""A subclass of str or bytes that tells lies: the wire carries the text that it holds.

An Enum of str is such a subclass before Python 3.12. Everything a caller gives is made plain first,
so that what is checked is what is written.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Callable, Dict, List, Tuple

import pytest

from amiproto import (
    MD5,
    PLAIN,
    Action,
    Event,
    InvalidHeader,
    InvalidVariable,
    LocalProtocolError,
    Login,
    MessageSend,
    Response,
    Role,
)
from tests.strategies import feed, opened

LIE = "lie\r\n\r\nAction: Ping"


class Liar(str):
    """A str that shows another text wherever it is asked."""

    def __str__(self) -> str:
        return LIE

    def __repr__(self) -> str:
        return LIE

    def __format__(self, spec: str) -> str:
        return LIE

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return hash("lie")

    def __len__(self) -> int:
        return 3

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, key: Any) -> str:
        return LIE[key]

    def __contains__(self, key: object) -> bool:
        return False

    def __iter__(self) -> Any:
        return iter(LIE)

    def __add__(self, other: str) -> str:
        return LIE

    def encode(self, *arguments: Any) -> bytes:
        return LIE.encode()

    def isprintable(self) -> bool:
        return True

    def isascii(self) -> bool:
        return True

    def lower(self) -> str:
        return "lie"

    def partition(self, separator: str) -> Tuple[str, str, str]:
        return "lie", separator, LIE

    def strip(self, *arguments: Any) -> str:
        return LIE

    lstrip = rstrip = strip

    def startswith(self, *arguments: Any) -> bool:
        return False

    def replace(self, *arguments: Any) -> str:
        return LIE

    def split(self, *arguments: Any) -> List[str]:
        return [LIE]


class BytesLiar(bytes):
    """The same of bytes."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __len__(self) -> int:
        return 1

    def __getitem__(self, key: Any) -> Any:
        return LIE.encode()[key]

    def __iter__(self) -> Any:
        return iter(LIE.encode())

    def __contains__(self, key: object) -> bool:
        return False

    def __bytes__(self) -> bytes:
        return LIE.encode()

    def decode(self, *arguments: Any) -> str:
        return LIE


class Address(str, Enum):
    """As programs keep their addresses."""

    TO = "pjsip:alice"
    FROM = "Door <sip:door@example.org>"


MESSAGE: Dict[str, Any] = {
    "to": "pjsip:alice",
    "body": "Someone is at the door",
    "from_": "Door <sip:door@example.org>",
    "variables": {"X-Door": "front, left"},
    "destination": "pjsip:alice",
    "action_id": "7",
}


@pytest.mark.parametrize(
    "lying",
    [{name: Liar(value)} for name, value in MESSAGE.items() if isinstance(value, str)]
    + [
        {"body": BytesLiar(b"Someone is at the door")},
        {"variables": {Liar("X-Door"): "front, left"}},
        {"variables": {"X-Door": Liar("front, left")}},
        {"variables": [(Liar("X-Door"), Liar("front, left"))]},
        {"variables": [[Liar("X-Door"), Liar("front, left")]]},
        {name: Liar(value) for name, value in MESSAGE.items() if isinstance(value, str)},
    ],
    ids=lambda lying: "+".join(lying),
)
def test_message_send_carries_the_real_text(lying: Dict[str, Any]) -> None:
    honest = MessageSend(**MESSAGE)
    message = MessageSend(**{**MESSAGE, **lying})
    assert message.wire == honest.wire and message == honest and hash(message) == hash(honest)
    for value in (message.to, message.from_, message.destination, message.action_id, message.text):
        assert type(value) is str


@pytest.mark.parametrize("technology", ["pjsip", "sip", "xmpp", "other"])
@pytest.mark.parametrize("name", ["to", "body", "from_", "destination", "action_id"])
def test_a_lie_hides_nothing_that_is_refused(technology: str, name: str) -> None:
    arguments: Dict[str, Any] = {"to": f"{technology}:a", "body": "x", "from_": "A <sip:a@b>"}
    arguments[name] = Liar("a\0b\r\n \ud800")
    with pytest.raises(LocalProtocolError) as caught:
        MessageSend(**arguments)
    assert LIE not in str(caught.value)


@pytest.mark.parametrize(
    "pair", [(Liar("X\n"), "v"), ("X", Liar("v\r\nBody: x")), (Liar("To"), "x")]
)
def test_a_lie_hides_no_variable(pair: Tuple[str, str]) -> None:
    with pytest.raises(InvalidVariable) as caught:
        MessageSend("pjsip:alice", "x", variables=[pair])
    assert LIE not in str(caught.value)


def test_an_enum_of_str_is_its_text() -> None:
    message = MessageSend(Address.TO, "x", Address.FROM)
    assert (message.to, message.from_) == ("pjsip:alice", "Door <sip:door@example.org>")
    # And nothing of it is remembered.
    assert MessageSend("pjsip:alice", "x", "Door <sip:door@example.org>").wire == message.wire


BUILDERS: List[Callable[[Callable[[str], str]], Any]] = [
    lambda text: Action(text("Ping")),
    lambda text: Action("Ping", {text("Name"): text("value")}),
    lambda text: Action("Ping", [(text("Name"), text("value"))]),
    lambda text: Action("Ping", action_id=text("7")),
    lambda text: Action("Ping", [(text("ActionID"), text("7"))]),
    lambda text: Action("Ping").with_action_id(text("7")),
    lambda text: Event(text("Name"), {text("Key"): text("value")}, action_id=text("7")),
    lambda text: Response(text("Success"), {text("Key"): text("value")}, action_id=text("7")),
]


@pytest.mark.parametrize("build", BUILDERS, ids=range(len(BUILDERS)))
def test_other_messages_carry_the_real_text(build: Callable[[Callable[[str], str]], Any]) -> None:
    assert build(Liar).wire == build(str).wire
    assert LIE.encode() not in build(Liar).wire


@pytest.mark.parametrize(
    "arguments",
    [("Ping\r\n\r\nAction: Logoff",), ("Ping", {"Na\nme": "v"}), ("Ping", {"Name": "v\r\nX: y"})],
)
def test_a_lie_hides_no_header_that_is_refused(arguments: Tuple[Any, ...]) -> None:
    name, *rest = arguments
    headers = [(Liar(key), Liar(value)) for one in rest for key, value in one.items()]
    with pytest.raises(InvalidHeader) as caught:
        Action(Liar(name), headers)
    assert LIE not in str(caught.value)


@pytest.mark.parametrize("mechanism", [PLAIN, MD5])
@pytest.mark.parametrize("secret", ["geheim", b"geheim"])
def test_login_carries_the_real_text(mechanism: str, secret: Any) -> None:
    lying_secret = Liar(secret) if isinstance(secret, str) else BytesLiar(secret)
    sent = []
    for login in (
        Login("joe", secret, mechanism=mechanism, events="call"),
        Login(Liar("joe"), lying_secret, mechanism=mechanism, events=Liar("call")),
    ):
        last = login.start()
        if mechanism == MD5:
            answer = login.receive_response(Response("Success", {"Challenge": "12"}))
            assert answer is not None
            last = answer
        sent.append(last.wire)
    assert sent[0] == sent[1] and LIE.encode() not in sent[1]
    for field in ("username", "secret", "events"):
        arguments: Dict[str, Any] = {"username": "joe", "secret": "geheim", field: Liar("a\r\nb")}
        with pytest.raises(InvalidHeader) as caught:
            Login(**arguments)
        assert LIE not in str(caught.value)


def test_what_a_server_reads_of_it_is_the_real_text() -> None:
    wire = opened(Role.CLIENT).send(MessageSend(Liar("pjsip:alice"), Liar("hi")))
    (action,) = feed(opened(Role.SERVER), wire)
    assert action.headers["To"] == "pjsip:alice" and action.headers["Body"] == "hi"
