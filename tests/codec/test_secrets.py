"""No secret is shown, and none outlives the session that needed it."""

from __future__ import annotations

import gc
import pickle
import traceback
from typing import Any, List

import pytest

from amiproto import (
    MD5,
    PLAIN,
    Action,
    Banner,
    Connection,
    LocalProtocolError,
    LoginFailed,
    Response,
    Role,
    Session,
)
from tests.strategies import drain, feed

SECRET = "S3CR3T-geheim"

#: Stanzas that carry somebody's secret, as dialplan tools and GetConfig send them.
STANZAS = [
    b"Event: UserEvent\r\nPassword: %b\r\n\r\n",
    b"Event: VarSet\r\nVariable: DB_SECRET\r\nChanVariable: db_secret=%b\r\n\r\n",
    b"Response: Success\r\nLine-000000-000000: secret=%b\r\n\r\n",
    b"Response: Success\r\nLine-000000-000001: md5secret = %b\r\n\r\n",
    b"Response: Success\r\nOutput:   Secret     : %b\r\n\r\n",
    b"MD5Secret: %b\r\nEvent: X\r\n\r\n",
]


@pytest.mark.parametrize("stanza", STANZAS)
def test_no_repr_shows_what_a_stanza_carries(stanza: bytes) -> None:
    client = Connection(Role.CLIENT)
    feed(client, Banner("11.0.0").wire)
    (message,) = feed(client, stanza % SECRET.encode())
    assert SECRET not in repr(message) + repr(message.headers) and SECRET.encode() in message.wire


@pytest.mark.parametrize("name", ["Secret", "Key", "Password", "MD5Secret", "AuthSecret"])
def test_no_error_shows_what_was_refused(name: str) -> None:
    for value in (SECRET + "\n", SECRET + "\ud800", SECRET + "x" * 2000):
        with pytest.raises(LocalProtocolError) as caught:
            Action("Login", {name: value})
        shown = "".join(traceback.format_exception(None, caught.value, caught.value.__traceback__))
        assert SECRET not in shown + repr(caught.value) + repr(vars(caught.value))
        assert caught.value.__context__ is None


def logged_in(mechanism: str) -> Session:
    session = Session("joe", SECRET, entropy=bytes(16), mechanism=mechanism)
    feed(session, Banner("11.0.0").wire)
    while not session.logged_in:
        action_id = Action.from_wire(session.data_to_send()).action_id
        session.receive_data(Response("Success", {"Challenge": "1"}, action_id=action_id).wire)
        drain(session)
    return session


def held() -> List[Any]:
    """What of all that lives holds the secret, this module's own names left out."""
    gc.collect()
    found: List[Any] = []
    for thing in gc.get_objects():
        if isinstance(thing, dict) and "SECRET" in thing:
            continue
        for part in gc.get_referents(thing):
            text = part.decode("latin-1") if isinstance(part, bytes) else part
            if isinstance(text, str) and SECRET in text and text != SECRET:
                found.append((type(thing), text[:80]))
    return found


@pytest.mark.parametrize("mechanism", [MD5, PLAIN])
def test_a_session_forgets_the_secret_once_it_is_in(mechanism: str) -> None:
    before = len(held())
    session = logged_in(mechanism)
    assert len(held()) == before
    assert SECRET not in repr(session)


def test_what_was_read_goes_with_the_connection() -> None:
    before = len(held())
    session = logged_in(MD5)
    for stanza in STANZAS:
        for message in feed(session, stanza % SECRET.encode()):
            message.headers.items(), message.headers.get("Event"), repr(message)
    del session, message
    assert len(held()) == before


def test_a_server_that_echoes_the_secret_gets_it_into_no_error() -> None:
    session = Session("joe", SECRET, entropy=bytes(16), mechanism=PLAIN)
    feed(session, Banner("11.0.0").wire)
    action_id = Action.from_wire(session.data_to_send()).action_id
    refusal = Response("Error", {"Message": f"wrong secret {SECRET}!"}, action_id=action_id)
    session.receive_data(refusal.wire)
    with pytest.raises(LoginFailed) as caught:
        drain(session)
    assert SECRET not in str(caught.value) + repr(vars(caught.value))
    assert caught.value.server_message == "wrong secret <redacted>!"


def test_a_session_cannot_be_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Session("joe", SECRET, entropy=bytes(16)))
