"""Receipts, results and errors: outcomes, hierarchy, pickling, plain types for JSON."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any, List, Set, Type, Union

import pytest

import amiclient
from amiclient import (
    ACCEPTED,
    FAILED,
    NOT_SENT,
    UNKNOWN,
    ActionFailed,
    AMIError,
    LocalProtocolError,
    LoginFailed,
    MessageSend,
    NotConnected,
    NotSent,
    Receipt,
    Response,
    SendResult,
    exceptions,
)
from amiproto import SHUTTING_DOWN

_RESPONSE = Response("Success", [("Message", "Message successfully sent")], action_id="1")
_RECEIPT = Receipt("1", _RESPONSE)
_RECORDS: List[Union[Receipt, SendResult[Any]]] = [
    _RECEIPT,
    SendResult(MessageSend("pjsip:a", "b"), _RECEIPT, None),
    SendResult(message=MessageSend("pjsip:a", "b")),
    SendResult({"to": "pjsip:a"}, error=NotConnected("not open")),
]

_NOT_SENT = {
    NotSent, exceptions.ConnectError, exceptions.TLSError, exceptions.ConnectTimeout,
    exceptions.SendFailed, exceptions.NotAnAMIServer, NotConnected, exceptions.ReentrantCall,
    exceptions.SendTimeout, LocalProtocolError, LoginFailed,
}  # fmt: skip
_UNKNOWN = {exceptions.OutcomeUnknown, exceptions.ConnectionLost, exceptions.ResponseTimeout}
_ALL: Set[Type[AMIError]] = {*_NOT_SENT, *_UNKNOWN, ActionFailed, exceptions.EventOverflow}
_RETRYABLE = {*_NOT_SENT, exceptions.EventOverflow} - {
    exceptions.TLSError, exceptions.NotAnAMIServer, LocalProtocolError, LoginFailed
}  # fmt: skip


# -- Receipts and results.


@pytest.mark.parametrize("record", _RECORDS, ids=repr)
def test_records_are_immutable_values(record: Any) -> None:
    for twin in (pickle.loads(pickle.dumps(record)), copy.copy(record), copy.deepcopy(record)):
        assert type(twin) is type(record) and repr(twin) == repr(record)
        assert twin.to_dict() == record.to_dict()
        if getattr(record, "error", None) is None:  # exceptions are equal only to themselves
            assert twin == record and hash(twin) == hash(record)
    assert [record == other for other in _RECORDS].count(True) == 1
    assert record != "something else"
    for name in record._fields:
        with pytest.raises(AttributeError):
            setattr(record, name, None)


@pytest.mark.parametrize(
    "record", [*_RECORDS, ActionFailed("no"), LocalProtocolError("x", limit=3)]
)
def test_to_dict_is_plain_json(record: Any) -> None:
    plain = record.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["outcome"] == record.outcome and isinstance(plain["retryable"], bool)
    keys = {"outcome", "retryable", "action_id", "server_message", "error", "message", "field",
            "limit", "actual"}  # fmt: skip
    assert set(plain) - {"to"} == keys


def test_receipt() -> None:
    assert _RECEIPT.outcome == ACCEPTED
    assert _RECEIPT.to_dict() == {
        "outcome": "accepted", "retryable": False, "action_id": "1",
        "server_message": "Message successfully sent", "error": None, "message": None,
        "field": None, "limit": None, "actual": None,
    }  # fmt: skip


def test_result_has_outcome_of_receipt_or_error() -> None:
    item = {"to": "pjsip:a"}
    result = SendResult(item, None, NotConnected("not open"))
    assert result.outcome == NOT_SENT and result.retryable and result.to == "pjsip:a"
    assert result.to_dict()["error"] == "NotConnected"
    assert SendResult(item, _RECEIPT, None).outcome == ACCEPTED
    assert not SendResult(item, _RECEIPT, None).retryable
    unknown = SendResult[MessageSend](MessageSend("pjsip:b", "c"))
    assert unknown.outcome == UNKNOWN == unknown.to_dict()["outcome"] and unknown.to == "pjsip:b"


# -- Errors.


def _error(kind: Type[AMIError]) -> AMIError:
    if kind is ActionFailed:
        response = Response("Error", [("Message", "No such thing")], action_id="17")
        return ActionFailed("the action failed", response=response, action_id="17")
    return kind("what happened", field="port", limit=3, actual=4, action_id="17")


@pytest.mark.parametrize("kind", sorted(_ALL - {LoginFailed}, key=str))
def test_errors_pickle_and_copy(kind: Type[AMIError]) -> None:
    error = _error(kind)
    twins = [pickle.loads(pickle.dumps(error, n)) for n in range(pickle.HIGHEST_PROTOCOL + 1)]
    for twin in [*twins, copy.copy(error), copy.deepcopy(error)]:
        assert type(twin) is kind
        assert str(twin) == str(error) == error.message
        assert twin.args == error.args and twin.__dict__ == error.__dict__
        assert twin.outcome == error.outcome and repr(twin) == repr(error)
    # Some queues rebuild an error from its arguments.
    for error in (kind("words"), kind(), kind(*error.args)):
        twin = kind(*error.args)
        assert type(twin) is kind and str(twin) == str(error)
        assert twin.outcome == error.outcome and error.to_dict()["error"] == kind.__name__


def test_each_class_has_one_outcome() -> None:
    for kind in _ALL:
        assert issubclass(kind, NotSent) is (kind in _NOT_SENT) is (kind.outcome == NOT_SENT)
        assert issubclass(kind, exceptions.OutcomeUnknown) is (kind in _UNKNOWN)
        assert kind.outcome == UNKNOWN or kind not in _UNKNOWN
        assert kind("x").retryable is (kind in _RETRYABLE), kind
        assert "etryable" in (kind.__doc__ or ""), kind
    assert ActionFailed.outcome == FAILED


def test_errors_are_built_in_exceptions_too() -> None:
    for kind in _ALL:
        assert issubclass(kind, TimeoutError) is kind.__name__.endswith("Timeout")
    for name in ("ConnectError", "TLSError", "SendFailed", "ConnectionLost"):
        assert issubclass(getattr(amiclient, name), ConnectionError)


def test_action_failed_has_response() -> None:
    error = _error(ActionFailed)
    assert isinstance(error, ActionFailed) and error.server_message == "No such thing"
    assert error.response.action_id == error.action_id == "17"
    bare = ActionFailed("no")
    assert bare.response == Response("Error") and bare.server_message == ""


def test_errors_of_server_that_shuts_down_are_retryable() -> None:
    error = ActionFailed("no", response=Response("Error", [("Message", SHUTTING_DOWN)]))
    assert error.retryable and pickle.loads(pickle.dumps(error)).retryable
    assert not ActionFailed(f"the server says: {SHUTTING_DOWN}").retryable


def test_every_error_is_public_and_in_the_documented_tree() -> None:
    assert exceptions.__doc__ is not None
    for kind in _ALL:
        assert kind.__name__ in exceptions.__doc__ and kind.__name__ in amiclient.__all__
    for value in vars(exceptions).values():
        if isinstance(value, type) and issubclass(value, AMIError):
            assert value in (AMIError, *_ALL)


def test_public_names_are_sorted_and_documented() -> None:
    assert amiclient.__all__ == sorted(amiclient.__all__)
    for name in amiclient.__all__:
        value = getattr(amiclient, name)
        assert isinstance(value, str) or value.__doc__, name
    public = {name for name in vars(amiclient) if name[0] != "_" and name[0].isupper()}
    assert public <= set(amiclient.__all__)
    for name, value in vars(amiclient.Client).items():
        assert name.startswith("_") or value.__doc__, name
