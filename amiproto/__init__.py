"""The Asterisk Manager Interface (AMI) as a codec without any I/O.

Reading order: ``errors``, ``limits`` and ``values``; ``text`` and ``headers``; ``framing``, where
stanzas end; ``encoding`` and ``messages``; ``connection``; ``login`` and ``session``; and for one
action of many, the package ``messaging``. Nothing here opens, waits, reads a clock or starts a
thread, and every import is relative, so that the folder can be copied into another package.
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
from .framing import LINE_TOO_LONG, TOO_MANY_LINES
from .headers import Headers
from .login import MD5, PLAIN, Login
from .messages import (
    MISSING_ACTION,
    Action,
    Banner,
    Event,
    Malformed,
    Message,
    Orphan,
    Response,
)
from .messaging import (
    MessageSend,
    escape_variable,
    parse_message_send,
    parse_variables,
    split_body,
)
from .session import Answer, LoggedIn, Session

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
