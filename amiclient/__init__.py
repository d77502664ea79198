"""A blocking client of the Asterisk Manager Interface (AMI), on top of :mod:`amiproto`.

Reading order: ``errors``, what callers see; ``deadline``, ``waking``, ``transport`` and
``opening``, what knows sockets; ``turns``, whose turn it is; ``outcomes``, what became of an
action; ``outbox``, ``kept`` and ``link``, one open connection; ``shared``, what threads share of
it; ``client`` and ``bulk``, the calls, with ``arguments`` and ``url``. ``loopback`` is a server to
try them against, ``command`` the command ``amisend``.
"""

from amiproto import (
    FAILED,
    NOT_SENT,
    UNKNOWN,
    Action,
    ActionResult,
    AMIError,
    Event,
    LocalProtocolError,
    LoginFailed,
    MessageSend,
    NotSent,
    Response,
    split_body,
)

from ._pipeline import SendResults
from .client import CLIENT_TIMEOUT, Client, ClientTimeout
from .exceptions import (
    ActionFailed,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    EventOverflow,
    NotAnAMIServer,
    NotConnected,
    OutcomeUnknown,
    ReentrantCall,
    ResponseTimeout,
    SendFailed,
    SendTimeout,
    TLSError,
)
from .results import ACCEPTED, Receipt, SendResult

__version__ = "0.1.0"

__all__ = [
    "ACCEPTED",
    "AMIError",
    "Action",
    "ActionResult",
    "ResponseTimeout",
    "CLIENT_TIMEOUT",
    "ReentrantCall",
    "Client",
    "ClientTimeout",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionLost",
    "Event",
    "EventOverflow",
    "LocalProtocolError",
    "LoginFailed",
    "MessageSend",
    "NOT_SENT",
    "NotAnAMIServer",
    "NotConnected",
    "NotSent",
    "OutcomeUnknown",
    "FAILED",
    "Receipt",
    "ActionFailed",
    "Response",
    "SendResult",
    "SendResults",
    "SendTimeout",
    "SendFailed",
    "TLSError",
    "UNKNOWN",
    "__version__",
    "split_body",
]
