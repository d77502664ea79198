"""The exceptions of the codec::

    AMIError                            base of all errors raised on purpose
    ├── NotSent                         nothing was sent
    │   ├── LocalProtocolError          (below)
    │   └── LoginFailed                 (below)
    └── ProtocolError                   errors of the protocol itself
        ├── LocalProtocolError          the caller's request cannot be sent
        │   ├── InvalidHeader           a header name or value
        │   ├── LineTooLong             a line over 1022 bytes, or an ActionID over 67
        │   ├── TooManyLines            an action over 128 lines
        │   ├── InvalidBody             a message body that no encoding carries unchanged
        │   │   └── BodyTooLong         a message body that fits neither Body nor Base64Body
        │   ├── InvalidVariable         a variable that the server would drop or damage
        │   └── InvalidAddress          a To, From or Destination that the server would alter
        ├── RemoteProtocolError         the peer sent invalid data, or exceeded a limit
        └── LoginFailed                 the server rejected the username or the secret

Every error has the attributes of :class:`AMIError`. Errors can be pickled and copied, and
:meth:`AMIError.to_dict` makes a dict for JSON. No error contains a secret.
"""

from __future__ import annotations

from typing import Any, Dict, Literal, Optional, Tuple

Failure = Literal["not_sent", "failed", "unknown"]

#: Outcome of an action that was not sent. A retry is safe.
NOT_SENT: Literal["not_sent"] = "not_sent"
#: Outcome of an action to which the server responded with an error. A message was not sent then.
FAILED: Literal["failed"] = "failed"
#: Outcome of an action that may have been sent, but has no response.
UNKNOWN: Literal["unknown"] = "unknown"

#: Message text of every response while the server shuts down. It carries out none of these actions;
#: another server may, or the same one after its restart (11.25, 16.28, 22.10).
SHUTTING_DOWN = "Asterisk is shutting down"

#: Message text of a failed login while the user has another session and ``allowmultiplelogin=no``,
#: on 16.28 also for a moment after that session has ended (11.25, 16.28, 22.10).
LOGIN_IN_USE = "Login Already In Use"

#: Most characters of an argument that an error message shows.
_SHOWN = 80


def shorten(text: str) -> str:
    """Return a text for an error message: if it is long, 80 characters of it and its length."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def quote(text: str) -> str:
    """Return a text in quotes, shortened as by :func:`shorten`."""
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}... ({len(text)} characters)"


class AMIError(Exception):
    """Base class of all errors that this library raises on purpose.

    :ivar str message: the error message, also ``str(error)``.
    :ivar field: the header or argument at fault (str), or None.
    :ivar limit: the limit that was exceeded (int; bytes unless the class says otherwise), or None.
    :ivar actual: the actual size (int, in the unit of ``limit``), or None.
    :ivar action_id: the ActionID of the action (str), or None.
    :ivar str outcome: ``"not_sent"``, ``"failed"`` or ``"unknown"``.
    :ivar bool retryable: whether the same call may work later, without a change of the message or
        of the configuration, and without the risk of a duplicate.
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
        """Return the error as a dict of plain JSON types, for logs and queues.

        The keys are ``outcome``, ``retryable``, ``action_id``, ``server_message`` (the server's
        message text, or None), ``error`` (the class name), ``message``, ``field``, ``limit`` and
        ``actual``.
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
        # Every class can be created from the message alone; __dict__ restores the rest.
        return type(self), (self.message,), self.__dict__


class NotSent(AMIError):
    """Base class of the errors whose outcome is ``"not_sent"``. A retry is safe.

    ``retryable`` says whether the same call may work later.
    """

    outcome = NOT_SENT
    retryable = True


class ProtocolError(AMIError):
    """Base class of the errors of the protocol itself."""


class LocalProtocolError(NotSent, ProtocolError):
    """The request is invalid, or not possible in this state.

    Nothing was sent, and the connection is unchanged. Not retryable: repeating the call at once
    fails again.
    """

    retryable = False


class InvalidHeader(LocalProtocolError):
    """A header name or value that cannot be sent as one line.

    The server ends a line at LF, a value at NUL and a name at the first colon. It strips leading
    bytes up to 0x20 from a value, so that a response could not be matched to such an ActionID
    (11.25, 16.28, 22.10).
    """


class LineTooLong(LocalProtocolError):
    """A line over the server's limit, or an ActionID that is too long.

    The server drops such a line, and may carry out the bytes after it as another action. A long
    ActionID runs into the next header of some responses (16.28, 22.10).
    """


class TooManyLines(LocalProtocolError):
    """An action with too many lines; ``limit`` and ``actual`` count lines.

    The server responds to the 129th line with an error (16.28, 22.10).
    """


class InvalidBody(LocalProtocolError):
    """A message body that would not arrive unchanged in any encoding.

    The server ends a body at NUL, even in base64. It writes the body of an xmpp message unescaped
    into an XML stream, which some characters break (16.28, 22.10).
    """


class BodyTooLong(InvalidBody):
    """A message body over the limit of its encoding; ``limit`` and ``actual`` count bytes.

    ``Body`` holds 1016 bytes. Line breaks and leading whitespace need ``Base64Body``, which holds
    757 bytes.
    """


class InvalidVariable(LocalProtocolError):
    """A variable that the server would drop or alter, or that would damage the message.

    The server does not send empty values, and ends a name at the first equals sign. Which of two
    variables of the same name it uses depends on the version. It accepts names that are invalid in
    a SIP message, or that the message already has (11.25, 16.28, 22.10).
    """


class InvalidAddress(LocalProtocolError):
    """A To, From or Destination that the server would alter.

    Each technology parses addresses in its own way, and drops, decodes or reorders parts that it
    does not expect. The modules of :mod:`amiproto.messaging` have the details.
    """


class RemoteProtocolError(ProtocolError):
    """The peer sent data that is not AMI, or that exceeds a limit.

    The connection cannot be used any more, because the rest of the stream has no known meaning.
    Not retryable: actions in flight may have been carried out.
    """


class LoginFailed(NotSent, ProtocolError):
    """The server rejected the username or the secret.

    Retryable only if the server is shutting down, or the user has another session.

    :ivar str server_message: the server's message text, mostly ``"Authentication failed"``.
    """

    retryable = False

    def __init__(
        self, message: str = "", *, server_message: str = "", action_id: Optional[str] = None
    ) -> None:
        is_temporary = server_message in (SHUTTING_DOWN, LOGIN_IN_USE)
        super().__init__(message, action_id=action_id, retryable=is_temporary)
        self.server_message = server_message


__all__ = [
    "AMIError",
    "BodyTooLong",
    "FAILED",
    "InvalidAddress",
    "InvalidBody",
    "InvalidHeader",
    "InvalidVariable",
    "LineTooLong",
    "LocalProtocolError",
    "LoginFailed",
    "NOT_SENT",
    "NotSent",
    "ProtocolError",
    "RemoteProtocolError",
    "SHUTTING_DOWN",
    "TooManyLines",
    "UNKNOWN",
]
