"""The Asterisk Manager Interface (AMI) as a codec without any I/O.

Reading order: ``errors``, ``limits`` and ``values``; ``text`` and ``headers``; ``framing``, where
stanzas end; ``encoding`` and ``messages``; ``connection``; ``login`` and ``session``; and for one
action of many, the package ``messaging``. Nothing here opens, waits, reads a clock or starts a
thread, and every import is relative, so that the folder can be copied into another package.
"""

from .connection import NEED_DATA, Connection, EndOfStream, Role, State
from .exceptions import (
    FAILED,
    NOT_SENT,
    SHUTTING_DOWN,
    UNKNOWN,
    AMIError,
    BodyTooLong,
    InvalidAddress,
    InvalidBody,
    InvalidHeader,
    InvalidVariable,
    LineTooLong,
    LocalProtocolError,
    LoginFailed,
    NotSent,
    ProtocolError,
    RemoteProtocolError,
    TooManyLines,
)
from .framing import LINE_TOO_LONG, TOO_MANY_LINES
from .headers import Headers
from .messages import (
    MISSING_ACTION,
    Action,
    Banner,
    Event,
    InvalidAction,
    Message,
    Response,
    UnknownMessage,
)
from .messaging import MessageSend, escape_variable, parse_message_send, parse_variables, split_body
from .session import MD5, PLAIN, ActionResult, LoggedIn, Login, Session

__all__ = [
    "AMIError",
    "Action",
    "InvalidAddress",
    "ActionResult",
    "Banner",
    "InvalidBody",
    "BodyTooLong",
    "Connection",
    "EndOfStream",
    "Event",
    "InvalidHeader",
    "Headers",
    "LINE_TOO_LONG",
    "LineTooLong",
    "LocalProtocolError",
    "LoggedIn",
    "Login",
    "LoginFailed",
    "MD5",
    "MISSING_ACTION",
    "InvalidAction",
    "Message",
    "MessageSend",
    "NEED_DATA",
    "NOT_SENT",
    "NotSent",
    "UnknownMessage",
    "PLAIN",
    "ProtocolError",
    "FAILED",
    "RemoteProtocolError",
    "Response",
    "Role",
    "SHUTTING_DOWN",
    "Session",
    "State",
    "TOO_MANY_LINES",
    "TooManyLines",
    "UNKNOWN",
    "InvalidVariable",
    "escape_variable",
    "parse_message_send",
    "parse_variables",
    "split_body",
]
