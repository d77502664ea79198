"""Validation of the arguments of Client and of its calls; URLs."""

from __future__ import annotations

import inspect
import pickle
from typing import Any, Dict

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amiclient import CLIENT_TIMEOUT, Client, ClientTimeout, MessageSend
from amiclient.loopback import SECRET, USERNAME, LoopbackServer
from amiclient.url import parse_url
from tests.certificates import SERVER_PEM, server_tls
from tests.faults import client_of


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("port", "5038", TypeError), ("port", True, TypeError), ("port", 0, ValueError),
        ("port", 65536, ValueError), ("port", 65536 + 5038, ValueError), ("port", -1, ValueError),
        ("timeout", -1, ValueError), ("timeout", "5", TypeError),
        ("timeout", float("nan"), ValueError), ("timeout", True, TypeError),
        ("host", "", ValueError), ("host", b"localhost", TypeError), ("username", "", ValueError),
        ("host", "ami://s3cret", ValueError), ("host", "u:s3cret@pbx", ValueError),
        ("username", None, TypeError), ("secret", "", ValueError), ("secret", b"", ValueError),
        ("secret", None, TypeError), ("secret", ["s3cret"], TypeError),
        ("tls_hostname", 1, TypeError), ("events", True, TypeError),
        ("max_events", -1, ValueError), ("max_events", 1.5, TypeError),
        ("max_event_bytes", -1, ValueError),
    ],
)  # fmt: skip
def test_invalid_argument_is_named(name: str, value: Any, kind: type) -> None:
    arguments: Dict[str, Any] = {"username": "u", "secret": "s3cret", name: value}
    with pytest.raises(kind) as caught:
        Client(**arguments)
    assert str(caught.value).split()[0] == name and "s3cret" not in str(caught.value)


def test_arguments_of_calls_are_checked(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        for call in (
            lambda timeout: client.ping(timeout=timeout),
            lambda timeout: client.events(timeout=timeout),
            lambda timeout: client.send_message("sip:a", "b", timeout=timeout),
            lambda timeout: client.send_messages([MessageSend("sip:a", "b")], timeout=timeout),
        ):
            with pytest.raises(ValueError):
                call(-1)
            with pytest.raises(TypeError):
                call("1")
        for window in (0, -1, 1025, 10**9):
            with pytest.raises(ValueError):
                client.send_messages([], window=window)
        with pytest.raises(TypeError):
            client.send_messages([], window="3")  # type: ignore[arg-type]
    assert server.messages == []


def test_client_timeout_is_the_default_of_every_call() -> None:
    for name in ("send_message", "send", "send_messages", "send_action", "events", "logoff"):
        parameter = inspect.signature(getattr(Client, name)).parameters["timeout"]
        assert parameter.default is CLIENT_TIMEOUT
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
    assert repr(CLIENT_TIMEOUT) == "CLIENT_TIMEOUT" and isinstance(CLIENT_TIMEOUT, ClientTimeout)
    assert pickle.loads(pickle.dumps(CLIENT_TIMEOUT)) is CLIENT_TIMEOUT


def test_mutable_secret_is_copied(server: LoopbackServer) -> None:
    secret = bytearray(SECRET.encode())
    client = client_of(server.port, secret=secret)
    secret[:] = b"x" * len(secret)
    with client:
        client.ping()


# -- URLs.

_WORDS = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1)


def test_from_url() -> None:
    with LoopbackServer(users={"me@home": "a/b:c %"}) as server:
        url = f"ami://me%40home:a%2Fb:c%20%25@127.0.0.1:{server.port}?timeout=5&events=on"
        with Client.from_url(url) as client:
            assert client.timeout == 5.0
            client.ping()
        assert "a/b" not in repr(client)
    with LoopbackServer(tls=server_tls()) as server:
        place = f"{USERNAME}:{SECRET}@127.0.0.1:{server.port}"
        with Client.from_url(f"amis://{place}?cafile={SERVER_PEM}") as client:
            client.ping()
        url = f"AMIS://{place}/?cafile={SERVER_PEM}&tls_hostname=localhost&timeout=none"
        with Client.from_url(url) as client:
            assert client.timeout is None
            client.ping()


@given(_WORDS, _WORDS)
@example("MAX", "X")
@example("/?#[]@", "://%2F@")
def test_any_username_and_secret_in_url(user: str, secret: str) -> None:
    found = parse_url(LoopbackServer(users={user: secret}, port=7).url)
    assert (found["username"], found["secret"]) == (user, secret.encode())
    assert (found["host"], found["port"]) == ("127.0.0.1", 7)


def test_defaults_of_url() -> None:
    client = Client.from_url("ami://u:s@pbx.example.org")
    assert (client.host, client.port, client.timeout) == ("pbx.example.org", 5038, 10.0)
    assert Client.from_url("amis://u:s@[::1]").port == 5039
    client = Client.from_url("ami://u:s@[::1]:7?max_events=3&mechanism=plain")
    assert (client.host, client.port) == ("::1", 7)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("http://u:s3cret@host", ""), ("u:s3cret@host", ""), ("ami://", ""), ("ami://host", ""),
        ("ami://u@host", ""), ("ami://u:@host", ""), ("ami://:s3cret@host", ""),
        ("ami://u:s3cret@", "host"), ("ami://u:s3cret@:5038", "host"),
        ("ami://u:s3c/ret@host", ""), ("ami://u:s3cret@more@host", ""),
        ("ami://u:s3cret@host:99999", "port"), ("ami://u:s3cret@host:x", "port"),
        ("ami://u:s3cret@host/path", ""), ("ami://u:s3cret@host#x", ""),
        ("ami://u:s3cret@[::1", "host"), ("ami://u:s3cret@host?tls=1", "tls"),
        ("ami://u:s3cret@host?cafile=x", "cafile"), ("ami://u:s3cret@host?timeout=soon", "timeout"),
        ("ami://u:s3cret@host?timeout=a://b", "timeout"),
        ("ami://u:s3cret@host?timeout=-1", "timeout"),
        ("ami://u:s3cret@host?max_events=many", "max_events"),
    ],
)  # fmt: skip
def test_invalid_url_is_rejected_without_showing_secret(url: str, part: str) -> None:
    with pytest.raises(ValueError) as caught:
        Client.from_url(url)
    assert part in str(caught.value) and "s3c" not in str(caught.value)


def test_url_must_be_str() -> None:
    with pytest.raises(TypeError):
        Client.from_url(b"ami://u:s@host")  # type: ignore[arg-type]
