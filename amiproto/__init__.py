"""The Asterisk Manager Interface (AMI) as a codec without any I/O.

Reading order: ``errors`` and ``limits``; ``text``, ``lines`` and ``headers``; ``encoding`` and
``messages``; ``framing`` and ``connection``; ``login`` and ``session``; and for one action of many,
``variables``, ``addresses``, ``message_send`` and ``split``. Nothing here opens, waits, reads a
clock or starts a thread, and every import is relative, so that the folder can be copied into
another package.
"""

from .connection import NEED_DATA, Connection, EndOfStream, Role, State
from .errors import (
    NOT_SENT,
    REFUSED,
    SHUTTING_DOWN,
    UNKNOWN,
    AddressRefused,
    AMIError,
    BodyRefused,
    BodyTooLong,
    HeaderRefused,
    LineTooLong,
    LocalProtocolError,
    LoginRefused,
    ProtocolError,
    RemoteProtocolError,
    TooManyLines,
    VariableRefused,
)
from .headers import Headers
from .login import MD5, PLAIN, Login
from .message_send import MessageSend, parse_message_send
from .messages import (
    LINE_TOO_LONG,
    MISSING_ACTION,
    TOO_MANY_LINES,
    Action,
    Banner,
    Event,
    Malformed,
    Message,
    Orphan,
    Response,
)
from .session import Answer, LoggedIn, Session
from .split import split_body
from .variables import escape_variable, parse_variables

__all__ = [
    "AMIError",
    "Action",
    "AddressRefused",
    "Answer",
    "Banner",
    "BodyRefused",
    "BodyTooLong",
    "Connection",
    "EndOfStream",
    "Event",
    "HeaderRefused",
    "Headers",
    "LINE_TOO_LONG",
    "LineTooLong",
    "LocalProtocolError",
    "LoggedIn",
    "Login",
    "LoginRefused",
    "MD5",
    "MISSING_ACTION",
    "Malformed",
    "Message",
    "MessageSend",
    "NEED_DATA",
    "NOT_SENT",
    "Orphan",
    "PLAIN",
    "ProtocolError",
    "REFUSED",
    "RemoteProtocolError",
    "Response",
    "Role",
    "SHUTTING_DOWN",
    "Session",
    "State",
    "TOO_MANY_LINES",
    "TooManyLines",
    "UNKNOWN",
    "VariableRefused",
    "escape_variable",
    "parse_message_send",
    "parse_variables",
    "split_body",
]
