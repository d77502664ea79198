"""Secrets: never shown, and released after the login."""

from __future__ import annotations

import gc
import pickle
import traceback
from typing import Any, Callable, List, Tuple

import pytest

from amiproto import (
    MD5,
    PLAIN,
    Action,
    Banner,
    Connection,
    Event,
    Headers,
    LocalProtocolError,
    Login,
    LoginFailed,
    Response,
    Role,
    Session,
    UnknownMessage,
    is_secret_name,
    redacted,
)
from tests.strategies import drain, feed

SECRET = "S3CR3T-geheim"

#: Lines that contain a secret, as actions, the dialplan, GetConfig and commands write them.
LINES = [
    "Secret: {}", "SECRET: {}", "MD5Secret: {}", "Password: {}", "key: {}", "Challenge: {}",
    "X-Auth-Token: {}", "Line-000000-000000: secret={}", "Line-000000-000000: secret => {}",
    "Line-000000-000001: md5_cred = {}", "Variable: DB_PASSWORD={}",
    "ChanVariable(SIP/x-1): vm_password={}", "AppData: a=1,pin={}",
    "Output:   Secret               : {}",
]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("first", ["Event: X", "Response: Success", "A: b", "Action: Ping", ""])
def test_repr_hides_secrets(line: str, first: str) -> None:
    lines = (f"{first}\r\n" if first else "") + line.format(SECRET) + "\r\nUser: 'joe'\r\n\r\n"
    role = Role.SERVER if first in ("", "Action: Ping") else Role.CLIENT
    connection = Connection(role)
    if role is Role.CLIENT:
        feed(connection, Banner("11.0.0").wire)
    (message,) = feed(connection, lines.encode())
    headers = Headers(message.headers.items())
    for shown in (repr(message), repr(message.headers), repr(headers)):
        assert SECRET not in shown and "<redacted>" in shown and "joe" in shown
    assert SECRET.encode() in message.wire and SECRET in str(message.headers.values())


@pytest.mark.parametrize("line", ["Monkey: x", "Keyboard: a=1", "AppData: monkey=5", "Pinned: 1"])
def test_repr_shows_other_values(line: str) -> None:
    name, _, value = line.partition(": ")
    assert repr(Headers({name: value})) == f"Headers([('{name}', '{value}')])"
    assert f"{name}: '{value}'" in repr(UnknownMessage({name: value}))


@pytest.mark.parametrize("name", ["Secret", "Key", "Password", "MD5Secret", "AuthSecret"])
@pytest.mark.parametrize("kind", [Action, Event, Response])
def test_errors_hide_secrets(kind: Callable[..., Any], name: str) -> None:
    values = [SECRET + "\n", SECRET + "\ud800"]
    if kind is Action:
        values.append(SECRET + "x" * 2000)
    for value in values:
        with pytest.raises(LocalProtocolError) as caught:
            kind("Login", {name: value})
        shown = "".join(traceback.format_exception(None, caught.value, caught.value.__traceback__))
        assert SECRET not in shown + repr(caught.value) + repr(vars(caught.value))
        assert caught.value.__context__ is None
        if kind is Action:
            assert not exposed(caught.value)


@pytest.mark.parametrize(
    "headers", [[("Secret", SECRET), ("X", 5)], [("Secret", SECRET), ("X",)], [("X", SECRET), 5]]
)
def test_type_errors_hide_secrets(headers: Any) -> None:
    with pytest.raises(TypeError) as caught:
        Action("Login", headers)
    assert SECRET not in str(caught.value)
    assert set(exposed(caught.value)) <= {"headers"}


@pytest.mark.parametrize("mechanism", [MD5, PLAIN])
@pytest.mark.parametrize("end", ["\n", "\0", "x" * 1100, "\ud800"])
def test_frames_of_an_invalid_secret_show_it_under_its_name_only(mechanism: str, end: str) -> None:
    for secret in (SECRET + end, (SECRET + end).encode("utf-8", "surrogatepass")):
        if end == "\ud800" and isinstance(secret, bytes):
            continue
        for call in (
            lambda: Login("joe", secret, mechanism=mechanism),
            lambda: Session("joe", secret, entropy=bytes(16), mechanism=mechanism),
        ):
            with pytest.raises(LocalProtocolError) as caught:
                call()
            assert caught.value.field == "Secret" and not exposed(caught.value)


def exposed(error: BaseException) -> List[str]:
    """Return the variables of the codec's frames that show the secret, whatever their names say.

    Scrubbers of error reports know the names ``secret`` and ``headers["Secret"]``.
    """
    return [
        name
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if "/amiproto/" in frame.f_code.co_filename
        for name, value in frame.f_locals.items()
        if name not in ("secret", "self") and not isinstance(value, dict) and SECRET in repr(value)
    ]


@pytest.mark.parametrize("mechanism", [MD5, PLAIN])
def test_failed_login_hides_an_echoed_secret(mechanism: str) -> None:
    login = Login("joe", SECRET, mechanism=mechanism)
    sent = login.start()
    if mechanism == MD5:
        answer = login.receive_response(Response("Success", {"Challenge": "123"}))
        assert answer is not None
        sent = answer
    proof = sent.headers["Key" if mechanism == MD5 else "Secret"]
    with pytest.raises(LoginFailed) as caught:
        login.receive_response(Response("Error", {"Message": f"no {proof} here"}))
    assert caught.value.server_message == "no <redacted> here"
    assert proof not in str(caught.value) + repr(vars(caught.value))


@pytest.mark.parametrize(
    "pairs",
    [
        [("Action-000000", "Update"), ("Cat-000000", "joe"), ("Var-000000", "secret"),
         ("Value-000000", SECRET), ("Match-000000", SECRET)],
        [("VALUE-1", SECRET), ("var-1", "MD5_Cred")],
        [("Channel", "joe"), ("Variable", "DB_PASSWORD"), ("Value", SECRET)],
    ],
)  # fmt: skip
def test_repr_hides_the_value_of_a_secret_that_another_header_names(
    pairs: List[Tuple[str, str]],
) -> None:
    for message in (
        Action("UpdateConfig", pairs),
        Event("VarSet", pairs),
        Response("Success", pairs),
    ):
        for shown in (repr(message), repr(message.headers)):
            assert SECRET not in shown and shown.count("<redacted>") == len(pairs) // 2


def test_repr_shows_the_values_of_other_settings() -> None:
    pairs = [("Var-000000", "secret"), ("Value-000001", "shown"), ("Var-000001", "host")]
    assert "shown" in repr(Action("UpdateConfig", pairs))


def test_repr_hides_a_value_whose_name_it_does_not_show() -> None:
    pairs = [("Value-000000", SECRET), *[("X", "y")] * 60, ("Var-000000", "secret")]
    shown = repr(Action("UpdateConfig", pairs))
    assert SECRET not in shown and "Var-" not in shown


def test_redacted_hides_what_repr_hides() -> None:
    pairs = [("Username", "joe"), ("SECRET", SECRET), ("Var-1", "pin"), ("Value-1", SECRET),
             ("AppData", f"a=1,token={SECRET}")]  # fmt: skip
    expected = [("Username", "joe"), ("SECRET", "<redacted>"), ("Var-1", "pin"),
                ("Value-1", "<redacted>"), ("AppData", "a=1,token=<redacted>")]  # fmt: skip
    for headers in (pairs, dict(pairs), Headers(pairs), Action("X", pairs).headers):
        assert [pair for pair in redacted(headers) if pair[0] != "Action"] == expected
    with pytest.raises(TypeError, match="headers"):
        list(redacted(5))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["Secret", "DB_PASSWORD", "X-Auth-Token", "Key", "challenge"])
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name) is True and is_secret_name(f"{name[0]}-name") is False


def logged_in(mechanism: str) -> Session:
    session = Session("joe", SECRET, entropy=bytes(16), mechanism=mechanism)
    feed(session, Banner("11.0.0").wire)
    while not session.logged_in:
        action_id = Action.from_wire(session.data_to_send()).action_id
        session.receive_data(Response("Success", {"Challenge": "1"}, action_id=action_id).wire)
        drain(session)
    return session


def references() -> int:
    """Count the references to a str or bytes with the secret, from all objects of the process."""
    gc.collect()
    found = 0
    for thing in gc.get_objects():
        for part in gc.get_referents(thing):
            # Before Python 3.11, the attributes of an object may be in a dict that is not tracked.
            is_untracked = isinstance(part, dict) and not gc.is_tracked(part)
            for value in gc.get_referents(part) if is_untracked else [part]:
                text = value.decode("latin-1") if isinstance(value, bytes) else value
                found += isinstance(text, str) and SECRET in text
    return found


@pytest.mark.parametrize("mechanism", [MD5, PLAIN])
def test_session_releases_secret_after_login(mechanism: str) -> None:
    before = references()
    session = logged_in(mechanism)
    assert references() == before
    assert SECRET not in repr(session)
    waiting = Session("joe", SECRET, entropy=bytes(16), mechanism=mechanism)
    assert references() > before and SECRET not in repr(waiting)


def test_received_secrets_are_freed_with_session() -> None:
    before = references()
    session = logged_in(MD5)
    for line in LINES:
        for message in feed(session, f"Event: X\r\n{line.format(SECRET)}\r\n\r\n".encode()):
            message.headers.items(), message.headers.get("Event"), repr(message)
    del session, message
    assert references() == before


def test_session_cannot_be_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Session("joe", SECRET, entropy=bytes(16)))
