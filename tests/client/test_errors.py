"""The errors of the client: their tree, their outcomes, and that they travel."""

from __future__ import annotations

import copy
import pickle
from typing import List, Type

import pytest

import amiclient
from amiclient import (
    FAILED,
    NOT_SENT,
    UNKNOWN,
    ActionFailed,
    AMIError,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    EventOverflow,
    LocalProtocolError,
    LoginFailed,
    NotAnAMIServer,
    NotConnected,
    NotSent,
    OutcomeUnknown,
    ReentrantCall,
    Response,
    ResponseTimeout,
    SendFailed,
    SendTimeout,
    TLSError,
)

_NOT_SENT: List[Type[AMIError]] = [
    NotSent, ConnectError, TLSError, ConnectTimeout, SendFailed, NotAnAMIServer, NotConnected,
    ReentrantCall, SendTimeout,
]  # fmt: skip
_UNKNOWN: List[Type[AMIError]] = [OutcomeUnknown, ConnectionLost, ResponseTimeout]
_OTHERS: List[Type[AMIError]] = [LocalProtocolError, LoginFailed, EventOverflow]


def _one_of(kind: Type[AMIError]) -> AMIError:
    if kind is ActionFailed:
        answer = Response("Error", [("Message", "No such thing")], action_id="17")
        return ActionFailed("the server answered Error", response=answer, action_id="17")
    if kind is LoginFailed:
        return LoginFailed("no", server_message="Authentication failed", action_id="17")
    return kind("what happened", field="port", limit=3, actual=4, action_id="17")


@pytest.mark.parametrize("kind", _NOT_SENT + _UNKNOWN + _OTHERS + [ActionFailed])
def test_errors_pickle_and_copy(kind: Type[AMIError]) -> None:
    error = _one_of(kind)
    twins = [pickle.loads(pickle.dumps(error, n)) for n in range(pickle.HIGHEST_PROTOCOL + 1)]
    for twin in [*twins, copy.copy(error), copy.deepcopy(error)]:
        assert type(twin) is kind
        assert str(twin) == str(error) == error.message
        assert twin.args == error.args
        assert twin.__dict__ == error.__dict__
        assert twin.outcome == error.outcome
        assert repr(twin) == repr(error)


def test_each_class_has_one_outcome() -> None:
    for kind in _NOT_SENT:
        assert issubclass(kind, NotSent) and kind.outcome == NOT_SENT
        assert not issubclass(kind, OutcomeUnknown)
    for kind in _UNKNOWN:
        assert issubclass(kind, OutcomeUnknown) and kind.outcome == UNKNOWN
    assert LocalProtocolError.outcome == LoginFailed.outcome == NOT_SENT
    assert ActionFailed.outcome == FAILED


def test_errors_are_the_system_s_own_kinds_too() -> None:
    for kind in (ConnectTimeout, SendTimeout, ResponseTimeout):
        assert issubclass(kind, TimeoutError)
    for other in (ConnectError, TLSError, SendFailed, ConnectionLost):
        assert issubclass(other, ConnectionError)


def test_a_refusal_has_the_server_s_words() -> None:
    error = _one_of(ActionFailed)
    assert isinstance(error, ActionFailed)
    assert error.server_message == "No such thing"
    assert error.response.action_id == error.action_id == "17"
    assert (
        ActionFailed("no").response == Response("Error") and ActionFailed("no").server_message == ""
    )


def test_errors_can_be_built_anew_from_their_args() -> None:
    for kind in _NOT_SENT + _UNKNOWN + _OTHERS + [ActionFailed]:
        assert str(kind()) == ""
        for error in (kind("words"), kind(), kind(*_one_of(kind).args)):
            twin = kind(*error.args)
            assert type(twin) is kind and str(twin) == str(error)
            assert twin.outcome == error.outcome and error.to_dict()["error"] == kind.__name__


def test_each_class_says_whether_to_try_again() -> None:
    select_for_retry = {*_NOT_SENT, EventOverflow} - {TLSError, NotAnAMIServer}
    for kind in _NOT_SENT + _UNKNOWN + _OTHERS + [ActionFailed]:
        assert "etryable" in (kind.__doc__ or ""), kind
        assert kind("x").retryable is (kind in select_for_retry), kind


def test_every_error_is_in_the_tree_that_the_docstring_draws() -> None:
    from amiclient import exceptions as errors

    assert errors.__doc__ is not None
    kinds = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, AMIError)
    ]
    assert len(kinds) == len(_NOT_SENT) + len(_UNKNOWN) + 3  # AMIError, ActionFailed, EventOverflow
    for kind in kinds:
        assert kind.__name__ in errors.__doc__
        assert kind.__doc__
        assert kind.__name__ in amiclient.__all__


def test_public_names_are_sorted_documented_and_there() -> None:
    assert amiclient.__all__ == sorted(amiclient.__all__)
    for name in amiclient.__all__:
        value = getattr(amiclient, name)
        if not isinstance(value, str):
            assert value.__doc__, name
    public = {name for name in vars(amiclient) if name[0] != "_" and name[0].isupper()}
    assert public - {"TYPE_CHECKING"} <= set(amiclient.__all__)


def test_public_methods_are_documented() -> None:
    for name, value in vars(amiclient.Client).items():
        if not name.startswith("_"):
            assert getattr(value, "__doc__", None), name
