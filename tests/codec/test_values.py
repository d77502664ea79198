"""Values: what they hold, and nothing else, makes them equal; nothing changes them."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from amiproto import Answer, Banner, EndOfStream, Event, LoggedIn, Response
from amiproto.values import Value

RESPONSE = Response("Success", action_id="1")
VALUES = [
    EndOfStream(),
    EndOfStream(unread=5),
    LoggedIn(banner=Banner("1.3"), response=RESPONSE),
    Answer("1", RESPONSE),
    Answer(action_id="1", response=RESPONSE, events=(Event("X"),), complete=Event("Y")),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_is_equal_hashable_copyable_and_picklable(value: Value) -> None:
    for other in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert other == value and hash(other) == hash(value) and repr(other) == repr(value)
    assert [other for other in VALUES if other == value] == [value]
    assert value != 5


class Unread(Value):
    """A value that holds what an EndOfStream holds."""

    __slots__ = ("unread",)

    def __init__(self, unread: int) -> None:
        self._fill(unread)


def test_other_values_have_other_hashes() -> None:
    assert len({hash(EndOfStream(unread)) for unread in range(9)}) > 1
    assert EndOfStream(5) != Unread(5) and hash(EndOfStream(5)) != hash(Unread(5))


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_cannot_be_changed(value: Value) -> None:
    before = repr(value)
    name = value.__slots__[0]
    with pytest.raises(AttributeError, match=f"^{type(value).__name__} cannot be changed$"):
        setattr(value, name, 1)
    with pytest.raises(AttributeError, match=f"^{type(value).__name__} cannot be changed$"):
        delattr(value, name)
    with pytest.raises(AttributeError):
        setattr(value, "other", 1)
    assert repr(value) == before


@pytest.mark.parametrize("kind", [EndOfStream, LoggedIn, Answer])
def test_a_constructor_names_what_the_value_holds(kind: type) -> None:
    assert tuple(inspect.signature(kind).parameters) == kind.__slots__  # type: ignore[attr-defined]
