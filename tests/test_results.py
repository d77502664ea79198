"""Receipts, replies and results: they compare, hash, pickle, and cannot be changed."""

from __future__ import annotations

import copy
import pickle
from typing import List, Union

import pytest

from amiclient import (
    ACCEPTED,
    NOT_SENT,
    Event,
    MessageSend,
    NotConnected,
    Receipt,
    Reply,
    Response,
    SendResult,
)

_ANSWER = Response("Success", [("Message", "Message successfully sent")], action_id="1")
_RECEIPT = Receipt("1", _ANSWER)
_RECORDS: List[Union[Receipt, Reply, SendResult]] = [
    _RECEIPT,
    Reply(_ANSWER, (Event("Entry"),), Event("Done")),
    Reply(_ANSWER, (), None),
    SendResult(MessageSend("pjsip:a", "b"), _RECEIPT, None),
]


@pytest.mark.parametrize("record", _RECORDS, ids=repr)
def test_records_pickle_copy_compare_and_hash(record: Union[Receipt, Reply, SendResult]) -> None:
    for twin in (pickle.loads(pickle.dumps(record)), copy.copy(record), copy.deepcopy(record)):
        assert twin == record and not twin != record
        assert hash(twin) == hash(record)
        assert type(twin) is type(record)
        assert repr(twin) == repr(record)
    assert [record == other for other in _RECORDS].count(True) == 1
    assert record != "something else"


@pytest.mark.parametrize("record", _RECORDS, ids=repr)
def test_records_cannot_be_changed(record: Union[Receipt, Reply, SendResult]) -> None:
    for name in ("response", "anything"):
        with pytest.raises(AttributeError, match="cannot be changed"):
            setattr(record, name, None)


def test_a_receipt_says_what_the_server_said() -> None:
    assert _RECEIPT.outcome == ACCEPTED
    assert _RECEIPT.server_message == "Message successfully sent"
    assert repr(_RECEIPT).startswith("Receipt(action_id='1', response=<Response ")


def test_a_result_has_the_outcome_of_its_error() -> None:
    item = {"to": "pjsip:a"}
    result = SendResult(item, None, NotConnected("not open"))
    assert result.outcome == NOT_SENT
    twin = pickle.loads(pickle.dumps(result))
    assert twin.message == item and type(twin.error) is NotConnected
    assert SendResult(item, _RECEIPT, None).outcome == ACCEPTED
