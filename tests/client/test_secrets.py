"""Secrets and the contents of messages appear in no log, repr, error or frame of an error."""

from __future__ import annotations

import logging
import pickle
import traceback
from typing import Any, Iterator, List

import pytest

from amiclient import (
    ACCEPTED,
    Action,
    ActionFailed,
    AMIError,
    Client,
    ConnectionLost,
    LocalProtocolError,
    LoginFailed,
    MessageSend,
    NotSent,
    ResponseTimeout,
)
from amiclient.loopback import LoopbackServer
from tests.faults import client_of, opened
from tests.script import (
    BANNER,
    Peer,
    Script,
    Step,
    accept,
    expect_eof,
    leave_pending,
    log_in,
    read_until_eof,
    repeat,
    reset,
    respond,
    response,
    send,
)

_SECRET = "t0p-s3cret"


def _shown_by(error: BaseException) -> Iterator[str]:
    """Yield the text of an error and its causes, and all variables in their frames."""
    yield "".join(traceback.format_exception(type(error), error, error.__traceback__))
    yield repr(pickle.loads(pickle.dumps(error)).to_dict())
    seen: List[BaseException] = []
    todo: List[Any] = [error]
    while todo:
        one = todo.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        todo += [one.__cause__, one.__context__]
        yield repr(one) + repr(vars(one))
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if "/ami" in frame.f_code.co_filename:
                yield from map(repr, frame.f_locals.values())


def _echo(peer: Peer) -> None:
    action = peer.read()
    peer.send(response(action, "Error", f"Message: bad secret {action.get('Secret')}"))


def _garbage(peer: Peer) -> None:
    peer.send(b"X: " + peer.read().get("Secret", "").encode() * 10_000)


@pytest.mark.parametrize("step", [_echo, read_until_eof, _garbage, reset])
def test_failed_plain_login_hides_secret(step: Step, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Script(send(BANNER), step, read_until_eof) as script:
        client = client_of(script.port, 0.2, username="u", secret=_SECRET, mechanism="plain")
        with pytest.raises(AMIError) as caught:
            client.connect()
        shown = list(_shown_by(caught.value))
        assert len(shown) > 4
        assert not [text for text in (*shown, caplog.text) if _SECRET in text]
        if step is _echo:
            assert isinstance(caught.value, LoginFailed)
            assert caught.value.server_message == "bad secret <redacted>"
        del caught


def test_session_hides_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown: List[str] = []
    with LoopbackServer(users={"me": _SECRET}) as server:
        for mechanism in ("md5", "plain"):
            client = client_of(server.port, username="me", secret=_SECRET, mechanism=mechanism)
            shown.append(repr(client))
            with client:
                shown += [repr(client), repr(client.send_message("pjsip:a", "b"))]
                with pytest.raises(ActionFailed) as failed:
                    client.send_action(Action("Nonsense", [("Secret", _SECRET)]))
                shown.append(repr(failed.value) + str(failed.value.to_dict()))
                result = client.send_action(Action("Challenge", [("AuthType", "MD5")]))
                challenge = result.response.headers["Challenge"]
            assert challenge not in caplog.text
        with pytest.raises(LoginFailed) as rejected:
            client_of(server.port, username="me", secret=_SECRET + " no").connect()
        shown += _shown_by(rejected.value)
    for bad in (_SECRET + "\r\nAction: Ping", _SECRET * 200, _SECRET + "\udc00\ud800"):
        with pytest.raises(LocalProtocolError) as invalid:
            Client(username="me", secret=bad)
        error = invalid.value
        shown.append("".join(traceback.format_exception(type(error), error, error.__traceback__)))
        shown.append(repr(error) + repr(vars(error)))
    assert "MessageSend" in caplog.text
    for text in [caplog.text, *shown]:
        assert "t0p" not in text and "s3cret" not in text


def test_client_cannot_be_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Client(username="u", secret=_SECRET))


# -- Logs.


def _levels(caplog: pytest.LogCaptureFixture) -> List[int]:
    """Return the levels of the records logged so far, and remove the records."""
    levels = [record.levelno for record in caplog.records if record.name == "amiclient"]
    caplog.clear()
    return levels


def test_connections_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Script(log_in, accept, leave_pending, expect_eof) as script:
        with client_of(script.port) as client:
            (line,) = caplog.messages
            assert "127.0.0.1" in line and str(script.port) in line and "11.0.0" in line
            assert _levels(caplog) == [logging.INFO]
            client.ping()
            with pytest.raises(ResponseTimeout):
                client.ping(timeout=0.05)
            assert _levels(caplog) == [logging.WARNING]
            client.ping()
            assert _levels(caplog) == [logging.INFO]
            client.connect()
            client.close()
        client.close()
        assert _levels(caplog) == [logging.INFO]
    with Script(log_in) as script, client_of(script.port) as client:
        script.wait_for_end()
        assert _levels(caplog) == [logging.INFO]
        with pytest.raises(ConnectionLost):
            next(client.events())
        assert _levels(caplog) == [logging.WARNING]
    for steps in ((read_until_eof,), (send(BANNER), reset), (send(b"SSH-2.0\r\n"), expect_eof)):
        with Script(*steps) as script, pytest.raises(NotSent):
            client_of(script.port, 0.1).connect()
    assert _levels(caplog) == []  # no connection was lost


def test_log_names_actions_without_their_contents(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "amiclient")
    reply = respond("Success", "Message: secret words")
    steps = (repeat(4, reply), leave_pending, read_until_eof)
    with Script(log_in, *steps) as script, opened(client_of(script.port)) as client:
        receipt = client.send_message("pjsip:alice", "private words", variables={"X-A": "words"})
        results = list(client.send_messages([MessageSend("pjsip:bob", "words")] * 3))
        with pytest.raises(ResponseTimeout) as caught:
            client.send_message("pjsip:alice", "silent words", timeout=0.05)
        assert [result.outcome for result in results] == [ACCEPTED] * 3
    ids = [str(result.receipt and result.receipt.action_id) for result in results]
    for action_id, outcome in [
        (receipt.action_id, "Success"),
        (str(caught.value.action_id), "unknown"),
        *((action_id, "Success") for action_id in ids),
    ]:
        (line,) = [line for line in caplog.messages if action_id in line]
        assert "MessageSend" in line and outcome in line
    for word in ("words", "alice", "bob", "X-A"):
        assert word not in caplog.text


def test_failed_logoff_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Script(log_in, read_until_eof) as script, client_of(script.port, 0.1):
        pass
    assert _levels(caplog) == [logging.INFO, logging.WARNING, logging.DEBUG, logging.DEBUG]
