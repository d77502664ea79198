"""Subclasses of str and bytes whose methods lie: their content is checked and sent.

An Enum of str is such a subclass before Python 3.12. Every argument is converted to a plain str or
bytes first, so that the checked text is the text on the wire.
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
    ServerLogin,
)

LIE = "lie"


def lying(base: Any, lie: Any) -> Any:
    """Return a subclass of str or bytes whose methods all see ``lie`` instead of the content."""

    def method(name: str) -> Any:
        return lambda self, *arguments, **options: getattr(lie, name)(*arguments, **options)

    inherited = {"__str__", "__repr__", "__format__", "__eq__", "__ne__", "__lt__", "__hash__"}
    names = set(dir(base)) - set(dir(object)) | inherited
    return type("Liar", (base,), {name: method(name) for name in names})


Liar = lying(str, LIE)
BytesLiar = lying(bytes, LIE.encode())


MESSAGE: Dict[str, Any] = {
    "to": "pjsip:alice", "body": "Someone is at the door", "from_": "Door <sip:door@example.org>",
    "variables": {"X-Door": "front, left"}, "destination": "pjsip:alice", "action_id": "7",
}  # fmt: skip


@pytest.mark.parametrize(
    "lying",
    [{name: Liar(value)} for name, value in MESSAGE.items() if isinstance(value, str)]
    + [
        {"body": BytesLiar(b"Someone is at the door")},
        {"to": Enum("To", {"A": "pjsip:alice"}, type=str).A},  # type: ignore[attr-defined]
        {"variables": {Liar("X-Door"): "front, left"}},
        {"variables": {"X-Door": Liar("front, left")}},
        {"variables": [(Liar("X-Door"), Liar("front, left"))]},
        {"variables": [[Liar("X-Door"), Liar("front, left")]]},
        {name: Liar(value) for name, value in MESSAGE.items() if isinstance(value, str)},
    ],
    ids=lambda lying: "+".join(lying),
)
def test_message_send_sends_the_content(lying: Dict[str, Any]) -> None:
    honest = MessageSend(**MESSAGE)
    message = MessageSend(**{**MESSAGE, **lying})
    assert message.wire == honest.wire and message == honest and hash(message) == hash(honest)
    for value in (message.to, message.from_, message.destination, message.action_id, message.text):
        assert type(value) is str


@pytest.mark.parametrize("technology", ["pjsip", "sip", "xmpp", "other"])
@pytest.mark.parametrize("name", ["to", "body", "from_", "destination", "action_id"])
def test_message_send_checks_the_content(technology: str, name: str) -> None:
    arguments: Dict[str, Any] = {"to": f"{technology}:a", "body": "x", "from_": "A <sip:a@b>"}
    arguments[name] = Liar("a\0b\r\n \ud800")
    with pytest.raises(LocalProtocolError) as caught:
        MessageSend(**arguments)
    assert LIE not in str(caught.value)


@pytest.mark.parametrize(
    "pair", [(Liar("X\n"), "v"), ("X", Liar("v\r\nBody: x")), (Liar("To"), "x")]
)
def test_message_send_checks_the_content_of_variables(pair: Tuple[str, str]) -> None:
    with pytest.raises(InvalidVariable) as caught:
        MessageSend("pjsip:alice", "x", variables=[pair])
    assert LIE not in str(caught.value)


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
def test_other_messages_send_the_content(build: Callable[[Callable[[str], str]], Any]) -> None:
    assert build(Liar).wire == build(str).wire
    assert LIE.encode() not in build(Liar).wire


@pytest.mark.parametrize(
    "name, key, value",
    [("Ping\r\n\r\nAction: Logoff", "X", "v"), ("Ping", "Na\nme", "v"), ("Ping", "X", "v\r\nX: y")],
)
def test_action_checks_the_content(name: str, key: str, value: str) -> None:
    with pytest.raises(InvalidHeader) as caught:
        Action(Liar(name), {Liar(key): Liar(value)})
    assert LIE not in str(caught.value)


@pytest.mark.parametrize("mechanism", [PLAIN, MD5])
@pytest.mark.parametrize("secret", ["geheim", b"geheim"])
def test_login_sends_and_checks_the_content(mechanism: str, secret: Any) -> None:
    lying_secret = Liar(secret) if isinstance(secret, str) else BytesLiar(secret)
    sent = []
    for login in (
        Login("joe", secret, mechanism=mechanism, events="call"),
        Login(Liar("joe"), lying_secret, mechanism=mechanism, events=Liar("call")),
    ):
        last = login.start()
        if mechanism == MD5:
            action = login.receive_response(Response("Success", {"Challenge": "12"}))
            assert action is not None
            last = action
        sent.append(last.wire)
    server = ServerLogin({Liar("joe"): lying_secret}, challenge=Liar("12"))
    server.receive_action(Action("Challenge", {"AuthType": "MD5"}))
    server.receive_action(last)
    assert server.username == "joe" and type(server.username) is str
    assert sent[0] == sent[1] and LIE.encode() not in sent[1]
    for field in ("username", "secret", "events"):
        arguments: Dict[str, Any] = {"username": "joe", "secret": "geheim", field: Liar("a\r\nb")}
        with pytest.raises(LocalProtocolError) as caught:
            Login(**arguments)
        kind = LocalProtocolError if field == "events" else InvalidHeader
        assert type(caught.value) is kind and LIE not in str(caught.value)
    with pytest.raises(LocalProtocolError) as wrong:
        Login("joe", secret, mechanism=lying(str, mechanism)("other"))
    assert wrong.value.field == "mechanism"
    assert Login("joe", secret, mechanism=Liar(mechanism)).start().name in ("Challenge", "Login")
