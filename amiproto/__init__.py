"""A codec for the Asterisk Manager Interface (AMI), without any I/O.

It opens no sockets, starts no threads and reads no clock, so it works with any I/O framework. All
imports are relative, so the package can be copied into another one.

A :class:`Session` is the client's side: it logs in, gives each action an ActionID that cannot be
guessed, and matches responses to actions. With asyncio::

    import asyncio
    import os

    from amiproto import NEED_DATA, ActionResult, EndOfStream, LoggedIn, MessageSend, Session

    async def send(host, port, username, secret, message):
        reader, writer = await asyncio.open_connection(host, port)
        session = Session(username, secret, entropy=os.urandom(16))
        try:
            while True:
                event = session.next_event()
                writer.write(session.data_to_send())
                if event is NEED_DATA:
                    data = await reader.read(65536)
                    if data:
                        session.receive_data(data)
                    else:
                        session.receive_eof()
                elif isinstance(event, LoggedIn):
                    writer.write(session.send(message).wire)
                elif isinstance(event, ActionResult):
                    return event.response
                elif isinstance(event, EndOfStream):
                    raise ConnectionError("closed by the server")
        finally:
            writer.close()

    message = MessageSend("pjsip:alice", "Hello")
    response = asyncio.run(send("127.0.0.1", 5038, "user", "secret", message))

A :class:`Connection` converts bytes to messages and messages to bytes, in either role. A proxy has
two of them::

    from amiproto import NEED_DATA, Connection, EndOfStream, Role

    client_side = Connection(Role.SERVER)
    server_side = Connection(Role.CLIENT)

    def relay(data, source, sink):
        source.receive_data(data)
        forwarded = b""
        while True:
            message = source.next_event()
            if message is NEED_DATA or isinstance(message, EndOfStream):
                return forwarded
            forwarded += sink.send(message)  # or another message

Pass it the client's data only after the server's banner. An :class:`InvalidAction` from the client
cannot be sent: respond to it with an error that has its ``reason``.

A server checks logins with a :class:`ServerLogin`. :func:`redacted` hides the secrets in headers,
as the repr of a message does.

:class:`MessageSend` rejects a message that the server would alter; see :mod:`amiproto.messaging`.
Any other action is an :class:`Action`. The errors are listed in :mod:`amiproto.exceptions`, the
limits in :mod:`amiproto.limits`.
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
from .headers import Headers, is_secret_name, redacted
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
from .session import MD5, PLAIN, ActionResult, LoggedIn, Login, ServerLogin, Session

__all__ = [
    "AMIError",
    "Action",
    "ActionResult",
    "Banner",
    "BodyTooLong",
    "Connection",
    "EndOfStream",
    "Event",
    "FAILED",
    "Headers",
    "InvalidAction",
    "InvalidAddress",
    "InvalidBody",
    "InvalidHeader",
    "InvalidVariable",
    "LINE_TOO_LONG",
    "LineTooLong",
    "LocalProtocolError",
    "LoggedIn",
    "Login",
    "LoginFailed",
    "MD5",
    "MISSING_ACTION",
    "Message",
    "MessageSend",
    "NEED_DATA",
    "NOT_SENT",
    "NotSent",
    "PLAIN",
    "ProtocolError",
    "RemoteProtocolError",
    "Response",
    "Role",
    "SHUTTING_DOWN",
    "ServerLogin",
    "Session",
    "State",
    "TOO_MANY_LINES",
    "TooManyLines",
    "UNKNOWN",
    "UnknownMessage",
    "escape_variable",
    "is_secret_name",
    "parse_message_send",
    "parse_variables",
    "redacted",
    "split_body",
]
