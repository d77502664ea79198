"""What became of an action: the one place that knows, and the words for it.

==========================  =======================  ==============================================
what happened               had the last byte left?  what the caller gets
==========================  =======================  ==============================================
the answer ``Success``      yes                      :class:`Receipt`
the answer ``Error``        yes                      :class:`Refused`: not carried out
another answer              yes                      :class:`OutcomeUnknown`
the time was up             yes                      :class:`AnswerTimeout`: unknown
the time was up             no                       :class:`SendTimeout`: not sent
other calls took the time   no                       :class:`SendTimeout`: not sent
the connection ended        yes                      :class:`ConnectionLost`: unknown
the connection ended        no                       :class:`ServerClosed`: not sent
there was no connection     no                       :class:`NotConnected`: not sent
==========================  =======================  ==============================================

An action whose last byte has not left is not carried out: the server waits for its blank line.
"""

from __future__ import annotations

from amiproto import UNKNOWN, AMIError, MessageSend, RemoteProtocolError
from amiproto.values import Value

from .deadline import Expired
from .errors import (
    AnswerTimeout,
    ConnectionLost,
    ConnectTimeout,
    NotAManager,
    NotConnected,
    OutcomeUnknown,
    Refused,
    SendTimeout,
    ServerClosed,
)
from .generic import Generic, Item
from .transport import Closed
from .turns import Busy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Literal, Optional, Union

    from amiproto import Answer, Response

    from .generic import Given

    #: What became of a message.
    Outcome = Literal["accepted", "not sent", "refused", "unknown"]

#: Outcome of a message that the server took: handed over to the channel technology. That is not
#: yet delivered: a SIP 404, a silent phone or a closed port all say Success (11, 16 and 22).
ACCEPTED: Literal["accepted"] = "accepted"


class Receipt(Value):
    """The server took a message.

    :ivar str action_id: the ActionID of the action that carried it.
    :ivar response: the server's answer (:class:`amiproto.Response`).
    """

    __slots__ = ("action_id", "response")
    action_id: str
    response: Response

    def __init__(self, action_id: str, response: Response) -> None:
        self._fill(action_id, response)

    @property
    def outcome(self) -> Literal["accepted"]:
        """Always :data:`ACCEPTED`: handed over, which is not yet delivered."""
        return ACCEPTED

    @property
    def server_message(self) -> str:
        """The server's own words (str): ``"Message successfully sent"``."""
        return self.response.message

    def to_dict(self) -> Dict[str, Any]:
        """What matters of it in plain types of JSON, with the keys of an error's ``to_dict``."""
        return _plain(ACCEPTED, self.action_id, self.server_message)


class SendResult(Value, Generic[Item]):
    """What became of one message of many.

    :ivar message: the message as it was given: a :class:`amiproto.MessageSend`, or a mapping.
    :ivar receipt: the :class:`Receipt`, or None.
    :ivar error: why there is no receipt: an :class:`amiproto.AMIError`, or None.
    """

    __slots__ = ("message", "receipt", "error")
    message: Item
    receipt: Optional[Receipt]
    error: Optional[AMIError]

    def __init__(
        self, message: Item, receipt: Optional[Receipt] = None, error: Optional[AMIError] = None
    ) -> None:
        self._fill(message, receipt, error)

    @property
    def to(self) -> str:
        """Where the message was to go (str), whichever way it was given."""
        message: Given = self.message
        return message.to if isinstance(message, MessageSend) else str(message["to"])

    @property
    def outcome(self) -> Outcome:
        """``"accepted"``, ``"not sent"``, ``"refused"`` or ``"unknown"``."""
        if self.receipt is not None:
            return ACCEPTED
        return UNKNOWN if self.error is None else self.error.outcome

    @property
    def retryable(self) -> bool:
        """Whether the same message may be accepted at a second try, and cannot arrive twice."""
        return self.error is not None and self.error.retryable

    def to_dict(self) -> Dict[str, Any]:
        """That of the receipt, or of the error, and ``to`` (str)."""
        told = self.receipt or self.error
        return {"to": self.to, **(_plain(UNKNOWN) if told is None else told.to_dict())}


def _plain(
    outcome: Outcome, action_id: Optional[str] = None, server_message: Optional[str] = None
) -> Dict[str, Any]:
    told = AMIError(action_id=action_id).to_dict()
    told.update(outcome=outcome, server_message=server_message, error=None, message=None)
    return told


def receipt_of(answer: Answer) -> Receipt:
    """The receipt that the answer to a message stands for.

    :raises Refused, OutcomeUnknown: for any answer but Success.
    """
    if answer.response.name != "Success":
        raise refused(answer) if answer.response.name == "Error" else no_answer(answer)
    return Receipt(answer.action_id, answer.response)


def refused(answer: Answer) -> Refused:
    """The error that the answer ``Error`` stands for."""
    response = answer.response
    return Refused(
        f"the server answered {response.name}: {response.message!r}; nothing was carried out; "
        "check what the action asks for, and the server's log",
        response=response,
        action_id=answer.action_id,
    )


def no_answer(answer: Answer) -> OutcomeUnknown:
    """The error that a response stands for which tells nothing of the action."""
    response = answer.response
    return OutcomeUnknown(
        f"the server answered {response.name}: {response.message!r}, which leaves open what "
        "became of the action: it may have been carried out; find out before you send it again",
        action_id=answer.action_id,
    )


def given_up(
    reason: Union[Expired, Closed], left: bool, action_id: Optional[str] = None
) -> Union[SendTimeout, ServerClosed, AnswerTimeout, ConnectionLost]:
    """The error of an action without an answer.

    :param reason: the end of the wait.
    :param left: whether the last byte of the action had left.
    """
    if isinstance(reason, Busy):
        return SendTimeout(
            "another thread's call took all the time; nothing was sent, send it again",
            action_id=action_id,
        )
    if isinstance(reason, Expired):
        if left:
            return AnswerTimeout(
                "the action left and no answer came in time: it may have been carried out; "
                "find out before you send it again",
                action_id=action_id,
            )
        return SendTimeout(
            "the time was up before the action had left; send it again", action_id=action_id
        )
    if left:
        return ConnectionLost(
            f"the connection broke before the answer came ({reason}): the action may have "
            "been carried out; find out before you send it again",
            action_id=action_id,
        )
    return ServerClosed(
        f"the connection ended before the action had left ({reason}); connect again and send "
        "again",
        action_id=action_id,
    )


def not_open(why: Optional[str]) -> NotConnected:
    """The error of a call on a client that is not open.

    :param why: why its connection has ended, or None where there is none.
    """
    if why is None:
        return NotConnected(
            "the client is not open in this process; call connect(), or use it in a with block"
        )
    return NotConnected(
        f"not sent, as the connection has ended ({why}); call connect() and send again"
    )


def not_logged_in(
    reason: Union[Expired, Closed], where: str
) -> Union[ConnectTimeout, NotAManager, ServerClosed]:
    """The error of a login that did not come to its end."""
    if isinstance(reason, Busy):
        return ConnectTimeout("another thread's call took all the time; call connect() again")
    if isinstance(reason, Expired):
        return ConnectTimeout(
            f"{where} took the connection and did not finish the login in time; check that "
            "this is the manager's port, and TLS or not"
        )
    if isinstance(reason.__cause__, RemoteProtocolError):
        return NotAManager(f"{where}: {reason}")
    return ServerClosed(
        f"{where}: {reason} before the login was done; check permit, deny, authlimit and "
        "authtimeout in manager.conf, and TLS or not"
    )


def listening_ended(reason: Closed) -> ConnectionLost:
    """The error of a wait for events that has lost its connection."""
    return ConnectionLost(f"the connection broke while waiting: {reason}; connect again")
