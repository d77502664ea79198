"""Logging in, alone: MD5 and plain, let in, refused, and no secret shown."""

from __future__ import annotations

import hashlib
import traceback
from typing import Any, Union

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
from tests.strategies import any_text, feed, opened

SUCCESS = Response("Success", {"Message": "Authentication accepted"})


def challenge(value: str) -> Response:
    return Response("Success", {"Challenge": value})


def test_md5_answers_the_challenge_with_a_lowercase_digest() -> None:
    login = Login("joe", "geheim")
    assert login.start() == Action("Challenge", {"AuthType": "MD5"})
    key = hashlib.md5(b"840415273geheim").hexdigest()
    expected = [("AuthType", "MD5"), ("Username", "joe"), ("Key", key), ("Events", "off")]
    assert login.receive_response(challenge("840415273")) == Action("Login", expected)
    assert login.receive_response(SUCCESS) is None


def test_plain_sends_the_secret() -> None:
    login = Login("joe", "geheim", mechanism=PLAIN, events="call,system")
    expected = [("Username", "joe"), ("Secret", "geheim"), ("Events", "call,system")]
    assert login.start() == Action("Login", expected)
    assert login.receive_response(SUCCESS) is None


@given(st.one_of(st.text(max_size=40), st.binary(max_size=40)), st.integers(0, 10**9).map(str))
def test_any_secret_is_used_byte_for_byte_or_refused(
    secret: Union[str, bytes], digits: str
) -> None:
    try:
        login = Login("joe", secret)
    except InvalidHeader as error:
        data = secret if isinstance(secret, bytes) else secret.encode("utf-8", "surrogatepass")
        assert set(b"\r\n\0") & set(data) and error.field == "Secret"
        return
    data = secret if isinstance(secret, bytes) else to_bytes(secret)
    action = login.receive_response(challenge(digits))
    assert action is not None
    assert action.headers["Key"] == hashlib.md5(digits.encode() + data).hexdigest()
    (received,) = feed(opened(Role.SERVER), Login("joe", secret, mechanism=PLAIN).start().wire)
    assert b"\r\nSecret: " + data + b"\r\n" in received.wire


def test_the_digest_works_on_older_pythons(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # hashlib.md5 of Python 3.8 takes the data and nothing else.
    original = hashlib.md5
    monkeypatch.setattr(hashlib, "md5", lambda data: original(data))
    login = Login("joe", "geheim")
    action = login.receive_response(challenge("1"))
    assert action is not None and action.headers["Key"] == original(b"1geheim").hexdigest()


def test_the_digest_works_where_md5_protects_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # A Python built for FIPS gives MD5 only to those who say that nothing's safety hangs on it.
    original = hashlib.md5

    def strict(data: bytes, *, usedforsecurity: bool = True) -> Any:
        if usedforsecurity:
            raise ValueError("disabled for FIPS")
        return original(data)

    monkeypatch.setattr(hashlib, "md5", strict)
    action = Login("joe", "geheim").receive_response(challenge("1"))
    assert action is not None and action.headers["Key"] == original(b"1geheim").hexdigest()


def test_without_a_secret_the_servers_words_are_left_alone() -> None:
    with pytest.raises(LoginFailed) as caught:
        Login("joe", "").receive_response(Response("Error", {"Message": "Authentication failed"}))
    assert caught.value.server_message == "Authentication failed"


@pytest.mark.parametrize("mechanism", [MD5, PLAIN])
def test_the_servers_no_is_login_refused(mechanism: str) -> None:
    login = Login("joe", "geheim", mechanism=mechanism)
    no = Response("Error", {"Message": "Authentication failed"}, action_id="7")
    if mechanism == MD5:
        login.receive_response(challenge("1"))
    with pytest.raises(LoginFailed, match="login of 'joe'.*Authentication failed") as caught:
        login.receive_response(no)
    error = caught.value
    assert (error.server_message, error.action_id) == ("Authentication failed", "7")
    assert error.outcome == "not_sent" and "geheim" not in str(error)


@pytest.mark.parametrize(
    "response, words",
    [
        (Response("Error", {"Message": "Permission denied"}), "Permission denied"),
        (Response("Success", {"Message": "what"}), "what"),
        (Response("Success"), "Success"),
        (Response("Success", {"Challenge": ""}), "Success"),
        (Response("Error", {"Challenge": "123"}), "Error"),
        (Response("Goodbye"), "Goodbye"),
    ],
)
def test_without_a_challenge_the_secret_goes_nowhere(response: Response, words: str) -> None:
    with pytest.raises(LoginFailed) as caught:
        Login("joe", "geheim").receive_response(response)
    assert caught.value.server_message == words


@given(any_text)
def test_any_challenge_is_hashed_as_it_came(text: str) -> None:
    login = Login("joe", "geheim")
    text = text.replace("\r\n", "")
    response = Response.from_wire(
        b"Response: Success\r\nChallenge: " + text.encode("utf-8", "surrogatepass") + b"\r\n\r\n"
    )
    value = response.headers["Challenge"]
    if not value:
        return
    action = login.receive_response(response)
    assert action is not None
    assert action.headers["Key"] == hashlib.md5(to_bytes(value) + b"geheim").hexdigest()


@pytest.mark.parametrize(
    "arguments, kind, field",
    [
        (("joe", "x", {"mechanism": "md4"}), LocalProtocolError, "mechanism"),
        (("jo\r\ne", "x", {}), InvalidHeader, "Username"),
        (("joe", "S3CR3T\r\nAction: Logoff", {}), InvalidHeader, "Secret"),
        (("joe", "S3CR3T\ud800", {}), InvalidHeader, "Secret"),
        (("joe", b"S3CR3T\0", {}), InvalidHeader, "Secret"),
        (("joe", "S3CR3T" * 200, {}), LineTooLong, "Secret"),
        (("\ud800", "S3CR3T", {}), InvalidHeader, "Username"),
        (("joe", "S3CR3T", {"events": "on\r\n"}), InvalidHeader, "Events"),
    ],
)
def test_a_secret_that_cannot_be_sent_is_refused_unseen(
    arguments: Any, kind: type, field: str
) -> None:
    username, secret, options = arguments
    with pytest.raises(LocalProtocolError) as caught:
        Login(username, secret, **options)
    error = caught.value
    assert type(error) is kind and error.field == field
    assert error.__context__ is None and error.__cause__ is None
    assert "S3CR3T" not in repr(error) + repr(vars(error))
    assert "S3CR3T" not in traceback.format_exception_only(type(error), error)[0]


@pytest.mark.parametrize("secret", [5, None, ["x"]])
def test_a_secret_is_str_or_bytes(secret: Any) -> None:
    with pytest.raises(TypeError):
        Login("joe", secret)


@pytest.mark.parametrize("mechanism", [MD5, PLAIN])
def test_no_repr_shows_a_secret(mechanism: str) -> None:
    login = Login("joe", "S3CR3T", mechanism=mechanism)
    shown = [repr(login), repr(login.start()), repr(challenge("SALT"))]
    if mechanism == MD5:
        action = login.receive_response(challenge("SALT"))
        shown.append(repr(action))
        assert hashlib.md5(b"SALTS3CR3T").hexdigest() not in repr(action)
    assert shown[0] == f"<Login 'joe' by {mechanism}>"
    assert not any("S3CR3T" in text or "SALT" in text for text in shown)


def test_a_mechanism_that_lies_is_not_taken_for_plain() -> None:
    class Liar(str):
        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return hash(PLAIN)

    with pytest.raises(LocalProtocolError, match="no login mechanism"):
        Login("joe", "geheim", mechanism=Liar("other"))
    assert Login("joe", "geheim", mechanism=Liar(MD5)).start().name == "Challenge"
