"""Login on its own: MD5 and plain text, success and failure, and no secret shown."""

from __future__ import annotations

import hashlib
import traceback
from typing import Any, List, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amiproto import (
    MD5,
    PLAIN,
    Action,
    InvalidHeader,
    LineTooLong,
    LocalProtocolError,
    Login,
    LoginFailed,
    Response,
    Role,
)
from amiproto._text import to_bytes
from tests.strategies import feed, line_text, opened

SUCCESS = Response("Success", {"Message": "Authentication accepted"})


def challenge(value: str) -> Response:
    return Response("Success", {"Challenge": value})


def test_md5_login() -> None:
    login = Login("joe", "geheim")
    assert login.start() == Action("Challenge", {"AuthType": "MD5"})
    key = hashlib.md5(b"840415273geheim").hexdigest()
    expected = [("AuthType", "MD5"), ("Username", "joe"), ("Key", key), ("Events", "off")]
    assert login.receive_response(challenge("840415273")) == Action("Login", expected)
    assert login.receive_response(SUCCESS) is None


def test_plain_login() -> None:
    login = Login("joe", "geheim", mechanism=PLAIN, events="call,system")
    expected = [("Username", "joe"), ("Secret", "geheim"), ("Events", "call,system")]
    assert login.start() == Action("Login", expected)
    assert login.receive_response(SUCCESS) is None


def key_for(secret: Union[str, bytes], value: str) -> str:
    """Return the key by which a login with this secret responds to a challenge."""
    action = Login("joe", secret).receive_response(challenge(value))
    assert action is not None
    return action.headers["Key"]


@given(st.one_of(st.text(max_size=40), st.binary(max_size=40)), st.integers(0, 10**9).map(str))
def test_secret_is_used_exactly_or_rejected(secret: Union[str, bytes], digits: str) -> None:
    try:
        key = key_for(secret, digits)
    except InvalidHeader as error:
        data = secret if isinstance(secret, bytes) else secret.encode("utf-8", "surrogatepass")
        assert set(b"\r\n\0") & set(data) and error.field == "Secret"
        return
    data = secret if isinstance(secret, bytes) else to_bytes(secret)
    assert key == hashlib.md5(digits.encode() + data).hexdigest()
    (received,) = feed(opened(Role.SERVER), Login("joe", secret, mechanism=PLAIN).start().wire)
    assert b"\r\nSecret: " + data + b"\r\n" in received.wire


@given(line_text.filter(bool))
def test_any_challenge_is_hashed_unchanged(value: str) -> None:
    assert key_for("geheim", value) == hashlib.md5(to_bytes(value) + b"geheim").hexdigest()


def test_md5_of_python_3_8(monkeypatch: pytest.MonkeyPatch) -> None:
    # There hashlib.md5 has no argument usedforsecurity.
    original = hashlib.md5
    monkeypatch.setattr(hashlib, "md5", lambda data: original(data))
    assert key_for("geheim", "1") == original(b"1geheim").hexdigest()


def test_md5_in_fips_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    # There MD5 is available only with usedforsecurity=False.
    original = hashlib.md5

    def strict(data: bytes, *, usedforsecurity: bool = True) -> Any:
        if usedforsecurity:
            raise ValueError("disabled for FIPS")
        return original(data)

    monkeypatch.setattr(hashlib, "md5", strict)
    assert key_for("geheim", "1") == original(b"1geheim").hexdigest()


FAILED = Response("Error", {"Message": "Authentication failed"}, action_id="7")


@pytest.mark.parametrize(
    "mechanism, responses, message",
    [
        (PLAIN, [FAILED], "Authentication failed"),
        (MD5, [challenge("1"), FAILED], "Authentication failed"),
        (MD5, [FAILED], "Authentication failed"),
        # Without a challenge, no key is sent.
        (MD5, [Response("Success", {"Message": "what"})], "what"),
        (MD5, [Response("Success")], "Success"),
        (MD5, [Response("Success", {"Challenge": ""})], "Success"),
        (MD5, [Response("Error", {"Challenge": "123"})], "Error"),
        (MD5, [Response("Goodbye")], "Goodbye"),
    ],
)
def test_failed_login(mechanism: str, responses: List[Response], message: str) -> None:
    login = Login("joe", "geheim", mechanism=mechanism)
    *before, last = responses
    for response in before:
        assert login.receive_response(response) is not None
    with pytest.raises(LoginFailed) as caught:
        login.receive_response(last)
    error = caught.value
    assert (error.server_message, error.action_id) == (message, last.action_id)
    assert error.outcome == "not_sent"
    assert "'joe'" in str(error) and "geheim" not in str(error)
    # Where the server has no Challenge, only the other mechanism can work.
    is_challenge = mechanism == MD5 and not before
    assert ("plain" in str(error)) == is_challenge


@pytest.mark.parametrize("secret, message", [("geheim", "<redacted>?"), ("", "geheim?")])
def test_secret_in_response_is_redacted(secret: str, message: str) -> None:
    with pytest.raises(LoginFailed) as caught:
        Login("joe", secret).receive_response(Response("Error", {"Message": "geheim?"}))
    assert caught.value.server_message == message
    assert not secret or secret not in str(caught.value) + repr(vars(caught.value))


@pytest.mark.parametrize(
    "mask",
    ["off", "no", "false", "on", "yes", "true", "all", "none", "0", "12", "user", "call,system"],
)
def test_event_mask(mask: str) -> None:
    assert Login("joe", "geheim", mechanism=PLAIN, events=mask).start().headers["Events"] == mask


@pytest.mark.parametrize(
    "mask",
    [
        "",
        "usr",
        "USER",
        "On",
        "OFF",
        "user,",
        "call,,system",
        "call, system",
        " call",
        "call system",
    ]
    + ["call;system", "on,call", "off,call", "-1", "1.5", "\u0661", "\u00b2"],
)
def test_event_mask_that_servers_ignore(mask: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        Login("joe", "geheim", events=mask)
    assert caught.value.field == "events"


@pytest.mark.parametrize(
    "arguments, kind, field",
    [
        ({"mechanism": "md4"}, LocalProtocolError, "mechanism"),
        ({"username": "jo\r\ne"}, InvalidHeader, "Username"),
        ({"username": "\ud800"}, InvalidHeader, "Username"),
        ({"secret": "S3CR3T\r\nAction: Logoff"}, InvalidHeader, "Secret"),
        ({"secret": "S3CR3T\ud800"}, InvalidHeader, "Secret"),
        ({"secret": b"S3CR3T\0"}, InvalidHeader, "Secret"),
        ({"secret": "S3CR3T" * 200}, LineTooLong, "Secret"),
        ({"events": "on\r\n"}, LocalProtocolError, "events"),
    ],
)
def test_invalid_argument_error_hides_secret(arguments: Any, kind: type, field: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        Login(**{"username": "joe", "secret": "S3CR3T", **arguments})
    error = caught.value
    assert type(error) is kind and error.field == field
    assert error.__context__ is None and error.__cause__ is None
    assert "S3CR3T" not in repr(error) + repr(vars(error))
    assert "S3CR3T" not in traceback.format_exception_only(type(error), error)[0]


@pytest.mark.parametrize(
    "arguments",
    [{"username": 5}, {"secret": None}, {"secret": ["x"]}, {"mechanism": 5}, {"events": 5}],
)
def test_argument_of_wrong_type(arguments: Any) -> None:
    (name,) = arguments
    with pytest.raises(TypeError, match=name):
        Login(**{"username": "joe", "secret": "geheim", **arguments})


@pytest.mark.parametrize("mechanism", [MD5, PLAIN])
def test_repr_hides_secret(mechanism: str) -> None:
    login = Login("joe", "S3CR3T", mechanism=mechanism)
    shown = [repr(login), repr(login.start()), repr(challenge("SALT"))]
    if mechanism == MD5:
        action = login.receive_response(challenge("SALT"))
        shown.append(repr(action))
        assert hashlib.md5(b"SALTS3CR3T").hexdigest() not in repr(action)
    assert "'joe'" in shown[0] and mechanism in shown[0]
    assert not any("S3CR3T" in text or "SALT" in text for text in shown)
