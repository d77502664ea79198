"""Arguments that are wrong are refused where they are given, by their name; and URLs."""

from __future__ import annotations

import inspect
import pickle
import socket
from typing import Any, Dict

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amiclient import CLIENT_TIMEOUT, Client, ClientTimeout, MessageSend, NotConnected
from amiclient.loopback import SECRET, USERNAME, LoopbackServer
from amiclient.url import parse_url
from tests.certificates import SERVER_PEM, server_tls
from tests.faults import client_of


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("port", "5038", TypeError), ("port", True, TypeError), ("port", 0, ValueError),
        ("port", 65536, ValueError), ("timeout", -1, ValueError), ("timeout", "5", TypeError),
        ("timeout", float("nan"), ValueError), ("timeout", True, TypeError),
        ("host", "", ValueError), ("host", b"localhost", TypeError), ("username", "", ValueError),
        ("username", None, TypeError), ("secret", "", ValueError), ("secret", b"", ValueError),
        ("secret", None, TypeError), ("tls_hostname", 1, TypeError), ("events", True, TypeError),
        ("max_events", -1, ValueError), ("max_events", 1.5, TypeError),
        ("max_event_bytes", -1, ValueError),
    ],
)  # fmt: skip
def test_an_argument_is_refused_by_its_name(name: str, value: Any, kind: type) -> None:
    arguments: Dict[str, Any] = {"username": "u", "secret": "s3cret", name: value}
    with pytest.raises(kind, match=f"^{name} is ") as caught:
        Client(**arguments)
    assert "s3cret" not in str(caught.value)
    if name not in ("host", "port"):
        left, right = socket.socketpair()
        with left, right, pytest.raises(kind, match=f"^{name} is "):
            Client(sock=left, **arguments)


def test_what_is_no_secret_is_named_and_not_shown() -> None:
    wrong: Any = ["s3cret"]
    with pytest.raises(TypeError, match="^secret is a str or bytes, not list$"):
        Client(username="u", secret=wrong)


def test_a_time_out_of_a_call_is_checked(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        for call in (
            lambda timeout: client.ping(timeout=timeout),
            lambda timeout: client.events(timeout=timeout),
            lambda timeout: client.send_message("sip:a", "b", timeout=timeout),
            lambda timeout: client.send_messages([MessageSend("sip:a", "b")], timeout=timeout),
        ):
            with pytest.raises(ValueError, match="^timeout is -1"):
                call(-1)
            with pytest.raises(TypeError, match="^timeout is seconds"):
                call("1")
        with pytest.raises(TypeError, match="^window is an int"):
            client.send_messages([], window="3")  # type: ignore[arg-type]
    assert server.messages == []


def test_the_default_time_out_has_a_name() -> None:
    for name in ("send_message", "send", "send_messages", "send_action", "events", "logoff"):
        parameter = inspect.signature(getattr(Client, name)).parameters["timeout"]
        assert parameter.default is CLIENT_TIMEOUT
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
    assert repr(CLIENT_TIMEOUT) == "CLIENT_TIMEOUT" and isinstance(CLIENT_TIMEOUT, ClientTimeout)
    assert pickle.loads(pickle.dumps(CLIENT_TIMEOUT)) is CLIENT_TIMEOUT


def test_a_secret_of_bytes_that_can_change_is_copied(server: LoopbackServer) -> None:
    secret = bytearray(SECRET.encode())
    client = client_of(server.port, secret=secret)
    secret[:] = b"x" * len(secret)
    with client:
        client.ping()


def test_a_client_of_a_socket_names_no_address() -> None:
    left, right = socket.socketpair()
    right.close()
    client = Client(sock=left, username="u", secret="s")
    assert repr(client) == "<Client 'u' at a given socket, closed>"
    with pytest.raises(Exception, match="a given socket") as caught:
        client.connect()
    assert "127.0.0.1" not in str(caught.value) and "5038" not in str(caught.value)
    with pytest.raises(NotConnected, match="used up") as used_up:
        client.connect()
    assert not used_up.value.retryable


def test_a_client_cannot_be_pickled_with_its_secret() -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Client(username="u", secret="s3cret"))


# -- URLs.

_WORDS = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1)


def test_a_url_opens_a_client() -> None:
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
def test_any_user_and_secret_can_stand_in_a_url(user: str, secret: str) -> None:
    found = parse_url(LoopbackServer(users={user: secret}, port=7).url)
    assert (found["username"], found["secret"]) == (user, secret.encode())
    assert (found["host"], found["port"]) == ("127.0.0.1", 7)


def test_what_a_url_leaves_out_is_as_for_the_class() -> None:
    client = Client.from_url("ami://u:s@pbx.example.org")
    assert (client.host, client.port, client.timeout) == ("pbx.example.org", 5038, 10.0)
    assert Client.from_url("amis://u:s@[::1]").port == 5039
    client = Client.from_url("ami://u:s@[::1]:7?max_events=3&mechanism=plain")
    assert (client.host, client.port) == ("::1", 7)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://u:s3cret@host", "ami://"), ("u:s3cret@host", "ami://"), ("ami://", "ami://"),
        ("ami://host", "no user and secret"), ("ami://u@host", "no user and secret"),
        ("ami://u:@host", "no user and secret"), ("ami://:s3cret@host", "no user and secret"),
        ("ami://u:s3cret@", "names no host"), ("ami://u:s3cret@:5038", "names no host"),
        ("ami://u:s3c/ret@host", "percent sign"), ("ami://u:s3cret@more@host", "percent sign"),
        ("ami://u:s3cret@host:99999", "port"), ("ami://u:s3cret@host:x", "port"),
        ("ami://u:s3cret@host/path", "between host"), ("ami://u:s3cret@host#x", "after a #"),
        ("ami://u:s3cret@host?tls=1", "no option 'tls'; there are timeout, mechanism, events, "),
        ("ami://u:s3cret@host?timeout=a://b", "timeout='a://b'"),
        ("ami://u:s3cret@host?cafile=x", "no option 'cafile'"),
        ("ami://u:s3cret@host?timeout=soon", "timeout='soon'"),
        ("ami://u:s3cret@host?timeout=-1", "timeout is -1"),
        ("ami://u:s3cret@host?max_events=many", "max_events='many'"),
        ("ami://u:s3cret@[::1", "host"),
    ],
)  # fmt: skip
def test_a_url_that_is_wrong_says_where(url: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        Client.from_url(url)
    assert words in str(caught.value)
    assert "s3c" not in str(caught.value)


def test_a_url_is_text() -> None:
    with pytest.raises(TypeError, match="^url is a str, not bytes"):
        Client.from_url(b"ami://u:s@host")  # type: ignore[arg-type]
