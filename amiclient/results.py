"""Receipts, results, and which exception a call raises.

===========================  ===========  ==================================
what happened                fully sent?  result
===========================  ===========  ==================================
response ``Success``         yes          :class:`Receipt`
response ``Error``           yes          ``ActionFailed``: not carried out
any other response           yes          ``OutcomeUnknown``
timeout                      yes          ``ResponseTimeout``: unknown
timeout                      no           ``SendTimeout``: not sent
timeout waiting for a lock   no           ``SendTimeout``: not sent
connection ended             yes          ``ConnectionLost``: unknown
connection ended             no           ``SendFailed``: not sent
no connection                no           ``NotConnected``: not sent
===========================  ===========  ==================================

An action that is not fully sent is not carried out: the server waits for its empty last line.
Whether an ``ActionFailed`` is retryable is decided in :mod:`amiclient.exceptions`.
"""

from __future__ import annotations

from typing import Any, Dict, Generic, Literal, Mapping, NamedTuple, Optional, TypeVar, Union

from amiproto import UNKNOWN, ActionResult, AMIError, MessageSend, RemoteProtocolError, Response

from ._lock import LockTimeout
from ._transport import Closed, CloseRequested, Expired
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

#: A message as the caller gives it: an object, or a mapping of the arguments for one.
MessageLike = Union[MessageSend, Mapping[str, Any]]
MessageT = TypeVar("MessageT", bound=MessageLike, covariant=True)

Outcome = Literal["accepted", "not_sent", "failed", "unknown"]

#: Outcome of a message that the server passed to the channel technology. It may still not be
#: delivered: Success is also the response if the phone answers 404, or not at all, or its port is
#: closed (Asterisk 11, 16 and 22).
ACCEPTED: Literal["accepted"] = "accepted"


class Receipt(NamedTuple):
    """The server accepted a message.

    :ivar str action_id: the ActionID of the action.
    :ivar response: the server's response (:class:`amiproto.Response`).
    """

    action_id: str
    response: Response

    @property
    def outcome(self) -> Literal["accepted"]:
        """Always :data:`ACCEPTED`, which does not mean delivered."""
        return ACCEPTED

    @property
    def server_message(self) -> str:
        """The ``Message`` header of the response (str): ``"Message successfully sent"``."""
        return self.response.message

    def to_dict(self) -> Dict[str, Any]:
        """Return a dict for JSON, with the keys of :meth:`amiproto.AMIError.to_dict`."""
        return _result_dict(ACCEPTED, self.action_id, self.server_message)


class _SendResult(NamedTuple):
    message: Any
    receipt: Optional[Receipt] = None
    error: Optional[AMIError] = None


class SendResult(_SendResult, Generic[MessageT]):
    """The result of one message of :meth:`amiclient.Client.send_messages`.

    :ivar message: the message that was given: a :class:`amiproto.MessageSend` or a mapping.
    :ivar receipt: the :class:`Receipt`, or None.
    :ivar error: the :class:`amiproto.AMIError` of a message without a receipt, or None.
    """

    # A NamedTuple can be generic itself since Python 3.11 only.
    __slots__ = ()
    message: MessageT  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def to(self) -> str:
        """The recipient, ``to`` of the message (str)."""
        message: MessageLike = self.message
        return message.to if isinstance(message, MessageSend) else str(message["to"])

    @property
    def outcome(self) -> Outcome:
        """``"accepted"``, ``"not_sent"``, ``"failed"`` or ``"unknown"``."""
        if self.receipt is not None:
            return ACCEPTED
        return UNKNOWN if self.error is None else self.error.outcome

    @property
    def retryable(self) -> bool:
        """True if sending the same message again is safe and may succeed."""
        return self.error is not None and self.error.retryable

    def to_dict(self) -> Dict[str, Any]:
        """Return the dict of the receipt or of the error, and ``to`` (str)."""
        result = self.receipt or self.error
        return {"to": self.to, **(_result_dict(UNKNOWN) if result is None else result.to_dict())}


def _result_dict(
    outcome: Outcome, action_id: Optional[str] = None, server_message: Optional[str] = None
) -> Dict[str, Any]:
    result = AMIError(action_id=action_id).to_dict()
    result.update(outcome=outcome, server_message=server_message, error=None, message=None)
    return result


def receipt_of(result: ActionResult) -> Receipt:
    """Return the receipt for the response to a message.

    :raises ActionFailed, OutcomeUnknown: for any response except Success.
    """
    if result.response.name != "Success":
        raise response_error(result)
    return Receipt(result.action_id, result.response)


def response_error(result: ActionResult) -> Union[ActionFailed, OutcomeUnknown]:
    """Return the exception for a response that does not mean success."""
    response, action_id = result.response, result.action_id
    if response.name == "Error":
        return ActionFailed(
            f"the action failed: {response.message!r}", response=response, action_id=action_id
        )
    return OutcomeUnknown(
        f"unexpected response {response.name}: {response.message!r}; the action may have been "
        "carried out",
        action_id=action_id,
    )


def unanswered_error(
    reason: Union[Expired, Closed], sent: bool, action_id: Optional[str] = None
) -> Union[SendTimeout, SendFailed, ResponseTimeout, ConnectionLost]:
    """Return the exception for an action without a response.

    :param reason: why the call stopped waiting.
    :param sent: whether the last byte of the action was sent.
    """
    if isinstance(reason, LockTimeout):
        return SendTimeout(
            "timed out waiting for a call of another thread; the action was not sent",
            action_id=action_id,
        )
    if isinstance(reason, Expired):
        if sent:
            return ResponseTimeout(
                "timed out waiting for the response; the action may have been carried out",
                action_id=action_id,
            )
        return SendTimeout("timed out before the action was sent", action_id=action_id)
    if sent:
        return ConnectionLost(
            f"the connection ended before the response arrived: {reason}; the action may have been "
            "carried out",
            action_id=action_id,
        )
    return SendFailed(
        f"the connection ended before the action was sent: {reason}", action_id=action_id
    )


def not_connected_error(reason: Optional[str]) -> NotConnected:
    """Return the exception for a call without a connection.

    :param reason: why the connection has ended, or None if this process never opened one.
    """
    return NotConnected("not connected" if reason is None else f"not connected: {reason}")


def connect_ended_error(
    reason: Union[Expired, Closed], where: str
) -> Union[ConnectTimeout, NotAnAMIServer, ConnectError]:
    """Return the exception for a connection that ended, or took too long, before the login."""
    if isinstance(reason, LockTimeout):
        return ConnectTimeout("timed out waiting for a call of another thread")
    if isinstance(reason, Expired):
        return ConnectTimeout(
            f"the login at {where} timed out; check that this is the AMI port, and whether it "
            "expects TLS"
        )
    if isinstance(reason.__cause__, RemoteProtocolError):
        return NotAnAMIServer(f"{where}: {reason}")
    message = f"the connection to {where} ended before the login was complete: {reason}"
    if not isinstance(reason, CloseRequested):
        message += (
            "; check permit, deny, authlimit and authtimeout in manager.conf, and whether the port "
            "expects TLS"
        )
    return ConnectError(message)


def events_ended_error(reason: Closed) -> ConnectionLost:
    """Return the exception for a connection that ended during a wait for events."""
    return ConnectionLost(f"the connection ended while waiting for events: {reason}")
