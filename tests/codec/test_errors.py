"""The errors: picklable, copyable, with every attribute, and one tree."""

from __future__ import annotations

import copy
import pickle
from typing import List, Type

import pytest
from hypothesis import given
from hypothesis import strategies as st

import amiproto
from amiproto import (
    NOT_SENT,
    SHUTTING_DOWN,
    UNKNOWN,
    AMIError,
    LocalProtocolError,
    LoginFailed,
    ProtocolError,
    RemoteProtocolError,
)
from amiproto import exceptions as errors

KINDS: List[Type[AMIError]] = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, AMIError)
]
_numbers = st.one_of(st.none(), st.integers())
_texts = st.one_of(st.none(), st.text())


@given(st.sampled_from(KINDS), st.text(), _texts, _numbers, _numbers, _texts, st.integers(0, 4))
def test_every_error_survives_pickling_and_copying(
    kind: Type[AMIError],
    message: str,
    field: str,
    limit: int,
    actual: int,
    action_id: str,
    protocol: int,
) -> None:
    if kind is LoginFailed:
        error: AMIError = LoginFailed(message, server_message=str(field), action_id=action_id)
    else:
        error = kind(message, field=field, limit=limit, actual=actual, action_id=action_id)
        assert (error.field, error.limit, error.actual) == (field, limit, actual)
    assert error.action_id == action_id and str(error) == error.message == message
    for other in (
        pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)
    ):  # fmt: skip
        assert type(other) is kind and vars(other) == vars(error)
        assert str(other) == message and other.outcome == error.outcome
        assert other.args == error.args == (message,)


def test_the_tree_is_the_one_in_the_docstring() -> None:
    names = [line.replace("│", " ").replace("└", " ").replace("├", " ").replace("─", " ").split()
             for line in (errors.__doc__ or "").splitlines()]  # fmt: skip
    drawn = {words[0] for words in names if words and words[0] in vars(errors)}
    assert {kind.__name__ for kind in KINDS} <= drawn
    for kind in KINDS:
        assert kind is AMIError or kind is ProtocolError or issubclass(kind, ProtocolError)
        assert (kind.outcome == NOT_SENT) == issubclass(kind, (LocalProtocolError, LoginFailed))
    assert RemoteProtocolError.outcome == AMIError.outcome == UNKNOWN


def test_an_error_tells_itself_in_plain_types() -> None:
    error = LocalProtocolError("no", field="To", limit=1, actual=2, action_id="7")
    assert error.to_dict() == {
        "outcome": NOT_SENT, "retryable": False, "action_id": "7", "server_message": None,
        "error": "LocalProtocolError", "message": "no", "field": "To", "limit": 1, "actual": 2,
    }  # fmt: skip
    refused = LoginFailed("no", server_message="Authentication failed", action_id="8").to_dict()
    assert refused["server_message"] == "Authentication failed" and refused["action_id"] == "8"


def test_an_error_without_a_sentence_has_an_empty_one() -> None:
    assert [str(kind()) for kind in KINDS] == [""] * len(KINDS)


def test_a_login_may_work_later_where_the_server_is_leaving() -> None:
    assert LoginFailed(server_message=SHUTTING_DOWN).retryable is True
    for error in (LoginFailed(), LoginFailed("no", server_message="Authentication failed")):
        assert error.retryable is False
    assert (LoginFailed().message, LoginFailed().server_message) == ("", "")


def test_every_error_is_public() -> None:
    assert {kind.__name__ for kind in KINDS} <= set(amiproto.__all__)
    assert sorted(errors.__all__) == errors.__all__
    assert set(errors.__all__) == {kind.__name__ for kind in KINDS} | {
        "NOT_SENT", "FAILED", "SHUTTING_DOWN", "UNKNOWN"
    }  # fmt: skip


def test_an_error_raised_anew_is_caught_by_its_family() -> None:
    with pytest.raises(ProtocolError, match="no"):
        raise copy.copy(LocalProtocolError("no"))
