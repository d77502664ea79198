"""A blocking client of the Asterisk Manager Interface (AMI), on top of :mod:`amiproto`.

Reading order: ``errors``, what callers see; ``deadline``, ``waking``, ``transport`` and
``opening``, what knows sockets; ``turns``, whose turn it is; ``outcomes``, what became of an
action; ``outbox``, ``kept`` and ``link``, one open connection; ``shared``, what threads share of
it; ``client`` and ``bulk``, the calls, with ``arguments`` and ``url``. ``loopback`` is a server to
try them against, ``command`` the command ``amisend``.
"""

from amiproto import (
    NOT_SENT,
    REFUSED,
    UNKNOWN,
    Action,
    AMIError,
    Answer,
    Event,
    LocalProtocolError,
    LoginRefused,
    MessageSend,
    Response,
    split_body,
)

from .arguments import CLIENT_TIMEOUT, ClientTimeout
from .bulk import SendResults
from .client import Client
from .errors import (
    AnswerTimeout,
    CallInProgress,
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
from .outcomes import ACCEPTED, Receipt, SendResult
from .version import __version__

__all__ = [
    "ACCEPTED",
    "AMIError",
    "Action",
    "Answer",
    "AnswerTimeout",
    "CLIENT_TIMEOUT",
    "CallInProgress",
    "Client",
    "ClientTimeout",
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
    "Response",
    "SendResult",
    "SendResults",
    "SendTimeout",
    "ServerClosed",
    "TLSError",
    "UNKNOWN",
    "__version__",
    "split_body",
]
