"""Receipts, results, and which exception a call raises.

An action that is not fully sent is not carried out: the server waits for its empty last line.
Whether an ``ActionFailed`` is retryable is decided in :mod:`amiclient.exceptions`.
"""

from __future__ import annotations

from typing import Any, Dict, Generic, Literal, Mapping, NamedTuple, Optional, TypeVar, Union

from amiproto import (
    UNKNOWN,
    ActionResult,
    AMIError,
    LoginFailed,
    MessageSend,
    RemoteProtocolError,
    Response,
)
from amiproto.exceptions import quote

from ._lock import LockTimeout
from ._transport import Closed, CloseRequested, Expired
from .exceptions import (
    MESSAGE_FAILED,
    PERMISSION_DENIED,
    TECHNOLOGY_NOT_FOUND,
    ActionFailed,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    NotAnAMIServer,
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
        """The recipient, ``to`` of the message (str), or "" if it has none."""
        message: Any = self.message
        if isinstance(message, MessageSend):
            return message.to
        return str(message.get("to", "")) if isinstance(message, Mapping) else ""

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

    def unwrap(self) -> Receipt:
        """Return the receipt, or raise the error."""
        if self.error is not None:
            raise self.error
        assert self.receipt is not None
        return self.receipt

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


#: The probable causes of errors, by the message of the response (11.25, 16.28, 22.10).
_HINTS = {
    PERMISSION_DENIED: "; check write in manager.conf; MessageSend needs the class message",
    TECHNOLOGY_NOT_FOUND: "; its module is not loaded, or not yet; Asterisk 21 has no sip any more",
    MESSAGE_FAILED: "; the endpoint does not exist, or has no registered contact",
}


def receipt_of(result: ActionResult) -> Receipt:
    """Return the receipt for a Success; raise :func:`response_error` for any other response."""
    if result.response.name != "Success":
        raise response_error(result)
    return Receipt(result.action_id, result.response)


def response_error(result: ActionResult) -> Union[ActionFailed, OutcomeUnknown]:
    """Return the exception for a response that does not mean success."""
    response, action_id = result.response, result.action_id
    if response.name == "Error":
        # Of an unknown command, the first line of the output is the reason (22.10).
        reasons = ": ".join(map(repr, (response.message, *response.output[:1])))
        hint = _HINTS.get(response.message, "")
        message = f"the action failed: {reasons}{hint}"
        return ActionFailed(message, response=response, action_id=action_id)
    return OutcomeUnknown(
        f"unexpected response {quote(response.name)}: {quote(response.message)}; the action may "
        "have been carried out",
        action_id=action_id,
    )


def unanswered_error(
    reason: Union[Expired, Closed], sent: bool, action_id: Optional[str] = None
) -> Union[SendTimeout, SendFailed, ResponseTimeout, ConnectionLost]:
    """Return the exception for an action without a response.

    :param reason: why the call stopped waiting.
    :param sent: whether the last byte of the action was sent.
    """
    when = "before the action was sent"
    if sent:
        when = "before the response arrived; the action may have been carried out"
    if isinstance(reason, Expired):
        what = " waiting for a call of another thread" if isinstance(reason, LockTimeout) else ""
        timeout = ResponseTimeout if sent else SendTimeout
        return timeout(f"timed out{what} {when}", action_id=action_id)
    closed = ConnectionLost if sent else SendFailed
    return closed(f"the connection ended ({reason}) {when}", action_id=action_id)


def connect_ended_error(
    reason: Union[Expired, Closed, LoginFailed], where: str
) -> Union[ConnectTimeout, NotAnAMIServer, ConnectError, LoginFailed]:
    """Return the exception for a connection that ended, or took too long, before the login.

    LoginFailed is replaced by a copy, because the frames of its traceback hold the response, in
    which a server may repeat the secret.
    """
    if isinstance(reason, LoginFailed):
        return LoginFailed(
            str(reason), server_message=reason.server_message, action_id=reason.action_id
        )
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
