"""A blocking client of the Asterisk Manager Interface (AMI), on top of :mod:`amiproto`.

Reading order: ``errors`` and ``results``, what callers see; ``deadline``, ``opening`` and
``transport``, what knows sockets; ``link``, one open connection; ``client`` and ``bulk``, the
calls. ``loopback`` is a server to try them against, ``__main__`` the command ``amisend``.
"""

from amiproto import (
    NOT_SENT,
    REFUSED,
    UNKNOWN,
    Action,
    AMIError,
    Event,
    LocalProtocolError,
    LoginRefused,
    MessageSend,
    Response,
    split_body,
)

from .client import Client
from .errors import (
    AnswerTimeout,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    EventOverflow,
    NotAManager,
    NotConnected,
    NotSent,
    OutcomeUnknown,
    Refused,
    SendTimeout,
    ServerClosed,
    TLSError,
)
from .results import ACCEPTED, Receipt, Reply, SendResult
from .version import __version__

__all__ = [
    "ACCEPTED",
    "AMIError",
    "Action",
    "AnswerTimeout",
    "Client",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionLost",
    "Event",
    "EventOverflow",
    "LocalProtocolError",
    "LoginRefused",
    "MessageSend",
    "NOT_SENT",
    "NotAManager",
    "NotConnected",
    "NotSent",
    "OutcomeUnknown",
    "REFUSED",
    "Receipt",
    "Refused",
    "Reply",
    "Response",
    "SendResult",
    "SendTimeout",
    "ServerClosed",
    "TLSError",
    "UNKNOWN",
    "__version__",
    "split_body",
]
