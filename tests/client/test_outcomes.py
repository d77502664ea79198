"""Receipts and results: they compare, pickle, tell themselves in JSON, and cannot be changed."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any, List, Union

import pytest

from amiclient import (
    ACCEPTED,
    FAILED,
    NOT_SENT,
    UNKNOWN,
    ActionFailed,
    ActionResult,
    ConnectionLost,
    ConnectTimeout,
    LocalProtocolError,
    MessageSend,
    NotAnAMIServer,
    NotConnected,
    OutcomeUnknown,
    Receipt,
    Response,
    ResponseTimeout,
    SendFailed,
    SendResult,
    SendTimeout,
)
from amiclient._lock import LockTimeout
from amiclient._transport import Closed, Expired
from amiclient.results import connect_ended_error, not_connected_error, receipt_of, unanswered_error
from amiproto import SHUTTING_DOWN, LoginFailed, RemoteProtocolError

_ANSWER = Response("Success", [("Message", "Message successfully sent")], action_id="1")
_RECEIPT = Receipt("1", _ANSWER)
_RECORDS: List[Union[Receipt, SendResult[Any]]] = [
    _RECEIPT,
    SendResult(MessageSend("pjsip:a", "b"), _RECEIPT, None),
    SendResult(message=MessageSend("pjsip:a", "b")),
    SendResult({"to": "pjsip:a"}, error=NotConnected("not open")),
]


@pytest.mark.parametrize("record", _RECORDS, ids=repr)
def test_records_pickle_copy_and_compare(record: Any) -> None:
    for twin in (pickle.loads(pickle.dumps(record)), copy.copy(record), copy.deepcopy(record)):
        assert type(twin) is type(record) and repr(twin) == repr(record)
        assert twin.to_dict() == record.to_dict()
        if getattr(record, "error", None) is None:  # errors are equal to themselves alone
            assert twin == record and hash(twin) == hash(record)
    assert [record == other for other in _RECORDS].count(True) == 1
    assert record != "something else"


@pytest.mark.parametrize("record", _RECORDS, ids=repr)
def test_records_cannot_be_changed(record: Any) -> None:
    for name in ("receipt", "response"):
        with pytest.raises(AttributeError, match="cannot be changed"):
            setattr(record, name, None)


@pytest.mark.parametrize(
    "record", [*_RECORDS, ActionFailed("no"), LocalProtocolError("x", limit=3)]
)
def test_what_matters_of_each_is_plain_json(record: Any) -> None:
    told = record.to_dict()
    assert json.loads(json.dumps(told)) == told
    assert told["outcome"] == record.outcome and isinstance(told["retryable"], bool)
    keys = {"outcome", "retryable", "action_id", "server_message", "error", "message", "field",
            "limit", "actual"}  # fmt: skip
    assert set(told) - {"to"} == keys


def test_a_receipt_says_what_the_server_said() -> None:
    assert _RECEIPT.outcome == ACCEPTED
    assert _RECEIPT.server_message == "Message successfully sent"
    assert repr(_RECEIPT).startswith("Receipt(action_id='1', response=<Response ")
    assert _RECEIPT.to_dict() == {
        "outcome": "accepted", "retryable": False, "action_id": "1",
        "server_message": "Message successfully sent", "error": None, "message": None,
        "field": None, "limit": None, "actual": None,
    }  # fmt: skip


def test_a_result_has_the_outcome_of_its_error() -> None:
    item = {"to": "pjsip:a"}
    result = SendResult(item, None, NotConnected("not open"))
    assert result.outcome == NOT_SENT and result.retryable and result.to == "pjsip:a"
    assert result.to_dict()["error"] == "NotConnected"
    assert SendResult(item, _RECEIPT, None).outcome == ACCEPTED
    assert not SendResult(item, _RECEIPT, None).retryable
    unknown = SendResult[MessageSend](MessageSend("pjsip:b", "c"))
    assert unknown.outcome == UNKNOWN == unknown.to_dict()["outcome"] and unknown.to == "pjsip:b"


# -- The table of outcomes, by its rows.


def _answer(name: str, words: str = "words") -> ActionResult:
    return ActionResult("7", Response(name, [("Message", words)], action_id="7"))


def test_row_the_answer_success() -> None:
    assert receipt_of(_answer("Success")).server_message == "words"


def test_row_the_answer_error() -> None:
    with pytest.raises(ActionFailed, match="'words'; nothing was carried out") as caught:
        receipt_of(_answer("Error"))
    assert caught.value.outcome == FAILED and not caught.value.retryable
    assert caught.value.action_id == "7"


def test_row_the_answer_error_of_a_server_that_stops() -> None:
    with pytest.raises(ActionFailed) as caught:
        receipt_of(_answer("Error", SHUTTING_DOWN))
    assert caught.value.outcome == FAILED and caught.value.retryable
    assert pickle.loads(pickle.dumps(caught.value)).retryable
    assert not ActionFailed("the server says: Asterisk is shutting down").retryable
    assert LoginFailed("x", server_message=SHUTTING_DOWN).retryable
    assert not LoginFailed("x", server_message="Authentication failed").retryable


def test_row_another_answer() -> None:
    with pytest.raises(OutcomeUnknown, match="leaves open") as caught:
        receipt_of(_answer("Goodbye"))
    assert caught.value.action_id == "7"


@pytest.mark.parametrize(
    ("reason", "left", "kind"),
    [
        (Expired(), True, ResponseTimeout),
        (Expired(), False, SendTimeout),
        (LockTimeout(), False, SendTimeout),
        (Closed("why"), True, ConnectionLost),
        (Closed("why"), False, SendFailed),
    ],
    ids=["late-left", "late-queued", "busy", "closed-left", "closed-queued"],
)
def test_rows_without_an_answer(reason: Any, left: bool, kind: type) -> None:
    error = unanswered_error(reason, left, "7")
    assert type(error) is kind and error.action_id == "7"
    assert error.outcome == (UNKNOWN if left else NOT_SENT)
    assert error.retryable is not left
    assert ("find out before you send it again" in str(error)) is left
    assert "why" in str(error) or not isinstance(reason, Closed)


def test_row_no_connection() -> None:
    assert type(not_connected_error(None)) is NotConnected and "not open" in str(
        not_connected_error(None)
    )
    assert "why" in str(not_connected_error("why")) and not_connected_error("why").retryable


def test_ends_of_a_login() -> None:
    assert str(connect_ended_error(LockTimeout(), "here")) == (
        "another thread's call took all the time; call connect() again"
    )
    broken = Closed("why")
    broken.__cause__ = RemoteProtocolError("no AMI")
    kinds = [ConnectTimeout, ConnectTimeout, SendFailed, NotAnAMIServer]
    for reason, kind in zip([Expired(), LockTimeout(), Closed("why"), broken], kinds):
        error = connect_ended_error(reason, "here")  # type: ignore[arg-type]
        assert type(error) is kind and error.outcome == NOT_SENT
        assert error.retryable is (kind is not NotAnAMIServer)
