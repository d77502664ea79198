"""The errors: attributes, pickling, and the tree of classes."""

from __future__ import annotations

import copy
import pickle
from typing import List, Type

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
    NotSent,
    RemoteProtocolError,
    exceptions,
)

KINDS: List[Type[AMIError]] = [
    value
    for value in vars(exceptions).values()
    if isinstance(value, type) and issubclass(value, AMIError)
]
_numbers = st.one_of(st.none(), st.integers())
_texts = st.one_of(st.none(), st.text())


@given(st.sampled_from(KINDS), st.text(), _texts, _numbers, _numbers, _texts, st.integers(0, 4))
def test_errors_can_be_pickled_and_copied(
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


def test_the_tree_in_the_docstring_lists_every_class_below_each_base() -> None:
    drawn: List[List[str]] = []
    path: List[str] = []
    for line in (exceptions.__doc__ or "").splitlines():
        words = line.translate(str.maketrans("│└├─", "    ")).split()
        if line.startswith("    ") and words:
            depth = (len(line) - len(line.lstrip(" │└├─")) - 4) // 4
            path = [*path[:depth], words[0]]
            drawn.append(path)
    expected = {
        (base.__name__, kind.__name__) for kind in KINDS for base in kind.__bases__ if base in KINDS
    }
    assert {(path[-2], path[-1]) for path in drawn if len(path) > 1} == expected
    assert drawn[0] == ["AMIError"]


def test_outcomes_follow_the_classes() -> None:
    for kind in KINDS:
        assert (kind.outcome == NOT_SENT) == issubclass(kind, NotSent)
    assert issubclass(LocalProtocolError, NotSent) and issubclass(LoginFailed, NotSent)
    assert RemoteProtocolError.outcome == AMIError.outcome == UNKNOWN


def test_to_dict_has_plain_types() -> None:
    error = LocalProtocolError("no", field="To", limit=1, actual=2, action_id="7")
    assert error.to_dict() == {
        "outcome": NOT_SENT, "retryable": False, "action_id": "7", "server_message": None,
        "error": "LocalProtocolError", "message": "no", "field": "To", "limit": 1, "actual": 2,
    }  # fmt: skip
    login_failed = LoginFailed("no", server_message="Authentication failed", action_id="8")
    assert login_failed.to_dict()["server_message"] == "Authentication failed"
    assert login_failed.to_dict()["action_id"] == "8"


def test_the_message_is_optional() -> None:
    assert [str(kind()) for kind in KINDS] == [""] * len(KINDS)
    assert LoginFailed().server_message == ""


def test_some_failed_logins_are_retryable() -> None:
    for server_message in (SHUTTING_DOWN, "Login Already In Use"):
        assert LoginFailed(server_message=server_message).retryable is True
    for error in (LoginFailed(), LoginFailed("no", server_message="Authentication failed")):
        assert error.retryable is False


def test_every_error_is_public() -> None:
    assert {kind.__name__ for kind in KINDS} <= set(amiproto.__all__)
    assert exceptions.__all__ == sorted(
        {kind.__name__ for kind in KINDS} | {"NOT_SENT", "FAILED", "SHUTTING_DOWN", "UNKNOWN"}
    )
