"""The errors of the codec, which every other module can raise.

The tree::

    AMIError                        everything this library raises on purpose
    └── ProtocolError
        ├── LocalProtocolError      what was asked cannot be said on the wire; nothing was sent
        │   ├── InvalidHeader       a header's name or value
        │   ├── LineTooLong         a line over 1022 bytes
        │   ├── TooManyLines        an action over 128 lines
        │   ├── BodyTooLong         a message's text fits neither Body nor Base64Body
        │   ├── InvalidBody         a message's text that no encoding carries unchanged
        │   ├── InvalidVariable     a variable that the server would drop or damage
        │   └── InvalidAddress      a To, From or Destination that would not arrive as written
        ├── RemoteProtocolError     what the peer sent is not AMI, or is over a limit
        └── LoginFailed            the server did not accept the user and secret

Every error has the attributes ``field``, ``limit``, ``actual`` and ``action_id`` (None where they
do not apply), ``outcome`` and ``retryable``, and can be pickled, copied, and told to a queue that
knows only JSON (``to_dict``). No error holds a secret.
"""

from __future__ import annotations

from typing import Any, Dict, Literal, Optional, Tuple

Failure = Literal["not_sent", "failed", "unknown"]

#: Outcome of an action that never left: to try again is safe.
NOT_SENT: Literal["not_sent"] = "not_sent"
#: Outcome of an action that the server answered with an error: it was not carried out.
FAILED: Literal["failed"] = "failed"
#: Outcome of an action whose bytes may have left and whose answer never came.
UNKNOWN: Literal["unknown"] = "unknown"

#: What a server that was told to stop answers to each action; it carries none of them out, and the
#: next server, or the same one in a minute, may (11.25, 16.28, 22.10).
SHUTTING_DOWN = "Asterisk is shutting down"


class AMIError(Exception):
    """Base of every error that this library raises on purpose.

    :ivar str message: the sentence, also ``str(error)``.
    :ivar field: the header or argument concerned (str), or None.
    :ivar limit: the limit that was passed (int; bytes unless the sentence says otherwise), or None.
    :ivar actual: the size that was found (int, in the unit of ``limit``), or None.
    :ivar action_id: the ActionID of the action concerned (str), or None.
    :ivar str outcome: ``"not_sent"``, ``"failed"`` or ``"unknown"``: what became of the action.
    :ivar bool retryable: whether the same again may work, and is safe: without a change of the
        message or of the set-up, and without the risk that it arrives twice.
    """

    outcome: Failure = UNKNOWN
    retryable = False

    def __init__(
        self,
        message: str = "",
        *,
        field: Optional[str] = None,
        limit: Optional[int] = None,
        actual: Optional[int] = None,
        action_id: Optional[str] = None,
        retryable: Optional[bool] = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.limit = limit
        self.actual = actual
        self.action_id = action_id
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        return self.message

    def to_dict(self) -> Dict[str, Any]:
        """What matters of the error in plain types of JSON, for logs and for queues.

        The keys: ``outcome``, ``retryable``, ``action_id``, ``server_message`` (None where the
        server said nothing), ``error`` (the name of the class), ``message`` (the sentence),
        ``field``, ``limit`` and ``actual``.
        """
        return {
            "outcome": self.outcome,
            "retryable": self.retryable,
            "action_id": self.action_id,
            "server_message": getattr(self, "server_message", None),
            "error": type(self).__name__,
            "message": self.message,
            "field": self.field,
            "limit": self.limit,
            "actual": self.actual,
        }

    def __reduce__(self) -> Tuple[Any, ...]:
        # Every class takes the sentence alone; what else it holds comes with the attributes.
        return type(self), (self.message,), self.__dict__


class NotSent(AMIError):
    """Base of every error whose outcome is "not_sent": the server carried nothing out.

    Sending again is safe. ``retryable`` says whether the same call may work later.
    """

    outcome = NOT_SENT
    retryable = True


class ProtocolError(AMIError):
    """Base of the errors about the protocol itself.

    Not retryable, as no error is whose class does not say otherwise.
    """


class LocalProtocolError(NotSent, ProtocolError):
    """What the caller asked for cannot be said on the wire, or not in this state.

    Nothing was sent, and the connection is as it was before the call. Not retryable, and neither is
    any class below: the same would be refused again.
    """

    retryable = False


class InvalidHeader(LocalProtocolError):
    """A header whose name or value cannot be sent as one line of AMI.

    The server ends a line at its LF and a value at a NUL, and would take the rest for headers; it
    ends a name at the first colon, and strips bytes up to 0x20 from the front of a value, so that
    an answer would not be known by such an ActionID (11.25, 16.28, 22.10).
    """


class LineTooLong(LocalProtocolError):
    """A line of an action over the server's limit; ``limit`` and ``actual`` count bytes.

    The server drops such a line, and may carry out what follows as another action; a long ActionID
    runs into the next header of some answers (16.28, 22.10).
    """


class TooManyLines(LocalProtocolError):
    """An action with more lines than the server keeps; ``limit`` and ``actual`` count lines.

    It answers the 129th with an error (16.28, 22.10).
    """


class InvalidBody(LocalProtocolError):
    """A message's text that would not arrive as it is, whatever the encoding.

    The server ends it at a NUL, in base64 too; and it puts the text of an xmpp message raw into the
    XML of its stream, which some characters break (16.28, 22.10).
    """


class BodyTooLong(InvalidBody):
    """A message's text over the limit for this text; ``limit`` and ``actual`` count bytes.

    The longest line of an action holds 1016 bytes of ``Body``. Line breaks, or a blank in front,
    need ``Base64Body``, whose line holds 757 of them.
    """


class InvalidVariable(LocalProtocolError):
    """A variable of a message that the server would drop, change or be damaged by.

    It sends no empty value, ends a name at the first equals sign, takes another one of two that are
    given depending on its version, and passes on names that no SIP message can have, or that the
    message has already (11.25, 16.28, 22.10).
    """


class InvalidAddress(LocalProtocolError):
    """A To, From or Destination that would not be used as it is written.

    Each technology reads addresses in its own way, and drops, decodes or reorders what it does not
    expect. What was seen of that stands in the modules of :mod:`amiproto.messaging`.
    """


class RemoteProtocolError(ProtocolError):
    """The peer sent what is not AMI, or more than the limits allow.

    The connection cannot go on: what follows in the stream has no known meaning. Not retryable: the
    action that was on its way may have been carried out.
    """


class LoginFailed(NotSent, ProtocolError):
    """The server did not accept the user and secret.

    Not retryable, but where the server says that it is shutting down.

    :ivar str server_message: the server's own words, ``"Authentication failed"`` for most causes.
    """

    retryable = False

    def __init__(
        self, message: str = "", *, server_message: str = "", action_id: Optional[str] = None
    ) -> None:
        is_leaving = server_message == SHUTTING_DOWN
        super().__init__(message, action_id=action_id, retryable=is_leaving)
        self.server_message = server_message


__all__ = [
    "AMIError",
    "InvalidAddress",
    "InvalidBody",
    "BodyTooLong",
    "InvalidHeader",
    "LineTooLong",
    "LocalProtocolError",
    "LoginFailed",
    "NotSent",
    "NOT_SENT",
    "ProtocolError",
    "FAILED",
    "RemoteProtocolError",
    "SHUTTING_DOWN",
    "TooManyLines",
    "UNKNOWN",
    "InvalidVariable",
]
