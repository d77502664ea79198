"""What became of an action: the one place that knows, and the words for it.

==========================  =======================  ==============================================
what happened               had the last byte left?  what the caller gets
==========================  =======================  ==============================================
the answer ``Success``      yes                      :class:`Receipt`
the answer ``Error``        yes                      :class:`ActionFailed`: not carried out
another answer              yes                      :class:`OutcomeUnknown`
the time was up             yes                      :class:`ResponseTimeout`: unknown
the time was up             no                       :class:`SendTimeout`: not sent
other calls took the time   no                       :class:`SendTimeout`: not sent
the connection ended        yes                      :class:`ConnectionLost`: unknown
the connection ended        no                       :class:`SendFailed`: not sent
there was no connection     no                       :class:`NotConnected`: not sent
==========================  =======================  ==============================================

An action whose last byte has not left is not carried out: the server waits for its blank line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Generic, Literal, Mapping, Optional, TypeVar, Union

from amiproto import UNKNOWN, ActionResult, AMIError, MessageSend, RemoteProtocolError, Response

from ._lock import LockTimeout
from ._transport import Closed, Expired
from .exceptions import (
    ActionFailed,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    NotAnAMIServer,
    NotConnected,
    OutcomeUnknown,
    ResponseTimeout,
    SendFailed,
    SendTimeout,
)

#: A message as callers give it: built, or the arguments of one by name.
Given = Union[MessageSend, Mapping[str, Any]]
Item = TypeVar("Item", bound=Given, covariant=True)

#: What became of a message.
Outcome = Literal["accepted", "not_sent", "failed", "unknown"]

#: Outcome of a message that the server took: handed over to the channel technology. That is not
#: yet delivered: a SIP 404, a silent phone or a closed port all say Success (11, 16 and 22).
ACCEPTED: Literal["accepted"] = "accepted"


@dataclass(frozen=True)
class Receipt:
    """The server took a message.

    :ivar str action_id: the ActionID of the action that carried it.
    :ivar response: the server's answer (:class:`amiproto.Response`).
    """

    action_id: str
    response: Response

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


@dataclass(frozen=True)
class SendResult(Generic[Item]):
    """What became of one message of many.

    :ivar message: the message as it was given: a :class:`amiproto.MessageSend`, or a mapping.
    :ivar receipt: the :class:`Receipt`, or None.
    :ivar error: why there is no receipt: an :class:`amiproto.AMIError`, or None.
    """

    message: Item
    receipt: Optional[Receipt] = None
    error: Optional[AMIError] = None

    @property
    def to(self) -> str:
        """Where the message was to go (str), whichever way it was given."""
        message: Given = self.message
        return message.to if isinstance(message, MessageSend) else str(message["to"])

    @property
    def outcome(self) -> Outcome:
        """``"accepted"``, ``"not_sent"``, ``"failed"`` or ``"unknown"``."""
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


def receipt_of(answer: ActionResult) -> Receipt:
    """The receipt that the answer to a message stands for.

    :raises ActionFailed, OutcomeUnknown: for any answer but Success.
    """
    if answer.response.name != "Success":
        raise refused(answer) if answer.response.name == "Error" else inconclusive_error(answer)
    return Receipt(answer.action_id, answer.response)


def refused(answer: ActionResult) -> ActionFailed:
    """The error that the answer ``Error`` stands for."""
    response = answer.response
    return ActionFailed(
        f"the server answered {response.name}: {response.message!r}; nothing was carried out; "
        "check what the action asks for, and the server's log",
        response=response,
        action_id=answer.action_id,
    )


def inconclusive_error(answer: ActionResult) -> OutcomeUnknown:
    """The error that a response stands for which tells nothing of the action."""
    response = answer.response
    return OutcomeUnknown(
        f"the server answered {response.name}: {response.message!r}, which leaves open what "
        "became of the action: it may have been carried out; find out before you send it again",
        action_id=answer.action_id,
    )


def unanswered_error(
    reason: Union[Expired, Closed], left: bool, action_id: Optional[str] = None
) -> Union[SendTimeout, SendFailed, ResponseTimeout, ConnectionLost]:
    """The error of an action without an answer.

    :param reason: the end of the wait.
    :param left: whether the last byte of the action had left.
    """
    if isinstance(reason, LockTimeout):
        return SendTimeout(
            "another thread's call took all the time; nothing was sent, send it again",
            action_id=action_id,
        )
    if isinstance(reason, Expired):
        if left:
            return ResponseTimeout(
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
    return SendFailed(
        f"the connection ended before the action had left ({reason}); connect again and send "
        "select_for_retry",
        action_id=action_id,
    )


def not_connected_error(why: Optional[str]) -> NotConnected:
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


def login_ended_error(
    reason: Union[Expired, Closed], where: str
) -> Union[ConnectTimeout, NotAnAMIServer, ConnectError]:
    """The error of a login that did not come to its end."""
    if isinstance(reason, LockTimeout):
        return ConnectTimeout("another thread's call took all the time; call connect() again")
    if isinstance(reason, Expired):
        return ConnectTimeout(
            f"{where} took the connection and did not finish the login in time; check that "
            "this is the manager's port, and TLS or not"
        )
    if isinstance(reason.__cause__, RemoteProtocolError):
        return NotAnAMIServer(f"{where}: {reason}")
    return ConnectError(
        f"{where}: {reason} before the login was done; check permit, deny, authlimit and "
        "authtimeout in manager.conf, and TLS or not"
    )


def events_ended_error(reason: Closed) -> ConnectionLost:
    """The error of a wait for events that has lost its connection."""
    return ConnectionLost(f"the connection broke while waiting: {reason}; connect again")
