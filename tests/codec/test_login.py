"""Login on its own, as client and as server: MD5 and plain text, and no secret shown."""

from __future__ import annotations

import hashlib
import hmac
import traceback
from typing import Any, Dict, List, Optional, Tuple, Union

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
    ServerLogin,
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


@pytest.mark.parametrize("argument", ["mechanism", "events"])
def test_errors_shorten_long_arguments(argument: str) -> None:
    options: Any = {argument: "x" * 5_000_000}
    with pytest.raises(LocalProtocolError) as caught:
        Login("joe", "geheim", **options)
    assert len(str(caught.value)) < 300 and caught.value.field == argument


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


# ---- the server's side ----


USERS: Dict[str, Union[str, bytes]] = {"joe": "geheim", "Zoé": b"latin-1 \xe9", "empty": ""}


def server_login() -> ServerLogin:
    return ServerLogin(USERS, challenge="840415273")


def answer(login: ServerLogin, action: Action) -> Tuple[str, str]:
    """Return the name and the message of the response to an action."""
    response = login.receive_action(action)
    assert response is not None and response.action_id == action.action_id
    return response.name, response.message


@pytest.mark.parametrize("mechanism", [MD5, PLAIN])
@pytest.mark.parametrize("username", ["joe", "JOE", "zoé"])
def test_both_sides_of_a_login(mechanism: str, username: str) -> None:
    server = server_login()
    user = "joe" if username.lower() == "joe" else "Zoé"
    client = Login(username, USERS[user], mechanism=mechanism, events="call,system")
    action: Optional[Action] = client.start()
    while action is not None:
        assert (server.username, server.events) == (None, "")
        response = server.receive_action(action.with_action_id("7"))
        assert response is not None and response.action_id == "7"
        action = client.receive_response(response)
    assert (server.username, server.events) == (user, "call,system")
    assert response == Response("Success", {"Message": "Authentication accepted"}, action_id="7")
    # Another login changes nothing.
    again = Login("empty", "", mechanism=PLAIN).start()
    assert answer(server, again) == ("Success", "Already authenticated")
    assert (server.username, server.events) == (user, "call,system")


@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from([MD5, PLAIN]))
def test_only_the_same_secret_is_accepted(expected: str, secret: str, mechanism: str) -> None:
    try:
        server = ServerLogin({"joe": expected}, challenge="1")
        client = Login("joe", secret, mechanism=mechanism)
    except InvalidHeader:
        return
    action: Optional[Action] = client.start()
    try:
        while action is not None:
            (received,) = feed(opened(Role.SERVER), action.wire)
            response = server.receive_action(received)
            assert response is not None
            action = client.receive_response(response)
    except LoginFailed:
        assert server.username is None
    # The server strips leading bytes up to 0x20 from the value of Secret.
    read = to_bytes(secret) if mechanism == MD5 else to_bytes(secret).lstrip(bytes(range(33)))
    assert (server.username == "joe") == (read == to_bytes(expected))


KEY = hashlib.md5(b"840415273geheim").hexdigest()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Username": "joe"},
        {"Username": "joe", "Secret": "Geheim"},
        {"Username": "joe", "Secret": "geheim "},
        {"Username": "zoe", "Secret": ""},
        {"Username": "zoe"},
        {"Username": "ZOÉ", "Secret": "geheim"},
        {"Username": "joe", "AuthType": "MD5", "Key": KEY.upper()},
        {"Username": "joe", "AuthType": "MD5", "Secret": "geheim"},
        {"Username": "joe", "AuthType": "MD5", "Key": ""},
        {"Username": "zoe", "AuthType": "MD5", "Key": hashlib.md5(b"840415273").hexdigest()},
    ],
)
def test_server_rejects_login(headers: Dict[str, str]) -> None:
    server = server_login()
    server.receive_action(Action("Challenge", {"AuthType": "md5"}))
    assert answer(server, Action("Login", headers)) == ("Error", "Authentication failed")
    assert (server.username, server.events) == (None, "")


def test_server_accepts_a_key_only_after_challenge() -> None:
    server = server_login()
    login = Action("LOGIN", {"Username": "joe", "AuthType": "mD5", "Key": KEY})
    assert answer(server, login) == ("Error", "Authentication failed")
    assert answer(server, Action("Challenge")) == ("Error", "Must specify AuthType")
    assert answer(server, login) == ("Error", "Authentication failed")
    for _ in range(2):  # it stays the same
        response = server.receive_action(Action("challenge", {"AuthType": "Md5"}, action_id="7"))
        assert response == Response("Success", {"Challenge": "840415273"}, action_id="7")
    assert answer(server, login) == ("Success", "Authentication accepted")
    assert (server.username, server.events) == ("joe", "")


def test_server_carries_out_other_actions_after_the_login_only() -> None:
    server = server_login()
    for name in ("Ping", "MessageSend", "Challenges"):
        assert answer(server, Action(name)) == ("Error", "Permission denied")
    assert server.receive_action(Action("Logoff")) is None
    answer(server, Login("joe", "geheim", mechanism=PLAIN).start())
    for name in ("Ping", "MessageSend", "Logoff"):
        assert server.receive_action(Action(name)) is None


def test_server_echoes_any_action_id() -> None:
    for action_id in (b"a\rb", b"\xff", b"x" * 900):
        (action,) = feed(opened(Role.SERVER), b"Action: X\r\nActionID: " + action_id + b"\r\n\r\n")
        response = server_login().receive_action(action)
        assert response is not None and b"\r\nActionID: " + action_id + b"\r\n" in response.wire


@pytest.mark.parametrize("mechanism", [MD5, PLAIN])
def test_server_compares_in_constant_time(mechanism: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: List[Tuple[Any, Any]] = []
    original = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return original(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    headers = {"AuthType": "MD5", "Key": KEY} if mechanism == MD5 else {"Secret": "geheim"}
    for username in ("joe", "unknown"):
        server_login().receive_action(Action("Login", {"Username": username, **headers}))
    proof = KEY if mechanism == MD5 else "geheim"
    assert len(compared) == 2 and compared[0] == (proof.encode(), proof.encode())


@pytest.mark.parametrize("challenge", ["", "12a", "-1", "1\r\n", "\u0661", " 1"])
def test_challenge_must_be_digits(challenge: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        ServerLogin(USERS, challenge=challenge)
    assert caught.value.field == "challenge"


@pytest.mark.parametrize(
    "users, challenge, name",
    [({5: "x"}, "1", "users"), ({"joe": None}, "1", "secret"), ({}, 5, "challenge")],
)
def test_server_argument_of_wrong_type(users: Any, challenge: Any, name: str) -> None:
    with pytest.raises(TypeError, match=name):
        ServerLogin(users, challenge=challenge)


def test_server_username_that_cannot_be_encoded() -> None:
    with pytest.raises(InvalidHeader) as caught:
        ServerLogin({"joe": "x", "jo\ud800": "x"}, challenge="1")
    assert caught.value.field == "Username"


def test_server_hides_secrets() -> None:
    server = server_login()
    server.receive_action(Action("Challenge", {"AuthType": "MD5"}))
    assert repr(server) == "<ServerLogin username=None>"
    server.receive_action(Login("joe", "geheim", mechanism=PLAIN).start())
    assert repr(server) == "<ServerLogin username='joe'>"
    with pytest.raises(InvalidHeader) as caught:
        ServerLogin({"joe": "S3CR3T\ud800"}, challenge="1")
    assert caught.value.field == "Secret" and caught.value.__context__ is None
    assert "S3CR3T" not in repr(caught.value) + repr(vars(caught.value))
    names = {
        name
        for frame, _ in traceback.walk_tb(caught.value.__traceback__)
        if "/amiproto/" in frame.f_code.co_filename
        for name, value in frame.f_locals.items()
        if "S3CR3T" in repr(value)
    }
    assert names == {"secret", "users"}
