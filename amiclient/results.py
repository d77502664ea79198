"""What calls give back: a receipt for one message, a result for each message of many."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Optional, Tuple, Union

    from amiproto import AMIError, Event, MessageSend, Response

#: Outcome of a message that the server took: handed over to the channel technology. That is not
#: yet delivered: a SIP 404, a silent phone or a closed port all say Success (11, 16 and 22).
ACCEPTED = "accepted"


class _Record:
    """Immutable, comparable, hashable and picklable by the slots of the class."""

    __slots__: Tuple[str, ...] = ()
    _setters: Tuple[Any, ...]

    def __init_subclass__(cls) -> None:
        cls._setters = tuple([cls.__dict__[name].__set__ for name in cls.__slots__])

    def __init__(self, *values: Any) -> None:
        for setter, value in zip(self._setters, values):
            setter(self, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def _values(self) -> Tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self.__slots__])

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        assert isinstance(other, _Record)
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), self._values()

    def __repr__(self) -> str:
        values = ", ".join(f"{n}={v!r}" for n, v in zip(self.__slots__, self._values()))
        return f"{type(self).__name__}({values})"


class Receipt(_Record):
    """The server took a message.

    :ivar str action_id: the ActionID of the action that carried it.
    :ivar response: the server's answer (:class:`amiproto.Response`).
    """

    __slots__ = ("action_id", "response")
    action_id: str
    response: Response

    def __init__(self, action_id: str, response: Response) -> None:
        set_action_id, set_response = self._setters
        set_action_id(self, action_id)
        set_response(self, response)

    @property
    def outcome(self) -> str:
        """Always :data:`ACCEPTED`: handed over, which is not yet delivered."""
        return ACCEPTED

    @property
    def server_message(self) -> str:
        """The server's own words (str): ``"Message successfully sent"``."""
        return self.response.message


class Reply(_Record):
    """The server's answer to an action.

    :ivar response: the response (:class:`amiproto.Response`).
    :ivar events: where the answer is a list, its events in order (tuple of
        :class:`amiproto.Event`), without the closing one; else empty.
    :ivar complete: the event that closed the list, or None where the answer is no list.
    """

    __slots__ = ("response", "events", "complete")
    response: Response
    events: Tuple[Event, ...]
    complete: Optional[Event]


class SendResult(_Record):
    """What became of one message of many.

    :ivar message: the message as it was given.
    :ivar receipt: the :class:`Receipt`, or None.
    :ivar error: why there is no receipt: an :class:`amiproto.AMIError`, or None.
    """

    __slots__ = ("message", "receipt", "error")
    message: Union[MessageSend, Mapping[str, Any]]
    receipt: Optional[Receipt]
    error: Optional[AMIError]

    @property
    def outcome(self) -> str:
        """``"accepted"``, ``"not sent"``, ``"refused"`` or ``"unknown"``."""
        return ACCEPTED if self.error is None else self.error.outcome
