"""Send SIP and XMPP messages through an Asterisk server, over its Manager Interface (AMI).

A complete program; the user ``messenger`` of manager.conf needs the write class ``message``::

    from amiclient import AMIError, Client

    try:
        with Client("pbx.example.org", username="messenger", secret="...") as client:
            receipt = client.send_message("pjsip:alice", "Dinner is ready")
    except AMIError as error:
        print(error.outcome, error)    # not_sent, failed or unknown
    else:
        print(receipt.outcome)         # accepted

A message that would not arrive exactly as given is rejected with a :class:`LocalProtocolError`; the
rules are in :mod:`amiproto.messaging`. Nothing is sent twice: the caller decides whether to retry.

**Outcomes.** ``accepted``: the server has passed the message on, which does not mean delivered. For
any other outcome an :class:`AMIError` is raised. ``not_sent`` (:class:`NotSent`) and ``failed``
(:class:`ActionFailed`, the server returned an error): the message was not passed on. ``unknown``
(:class:`OutcomeUnknown`, no response arrived): it may have been. ``error.retryable`` says whether
the same call may succeed later. See :mod:`amiclient.exceptions`.

**Many messages.** :meth:`Client.send_messages` keeps several in flight and yields a
:class:`SendResult` for each, in order::

    messages = [{"to": "pjsip:alice", "body": "1"}, {"to": "pjsip:bob", "body": "2"}]
    for result in client.send_messages(messages):
        print(result.to, result.outcome, result.error)

:func:`split_body` cuts a text that is too long for one message.

**TLS.** ``Client(..., tls=True)`` trusts the CAs of the system and ``tls="/etc/asterisk/ca.crt"``
the certificate in that file. :meth:`Client.from_url` takes all settings as one string::

    client = Client.from_url("amis://messenger:secret@pbx.example.org?timeout=5")

**Long-running programs.** A call connects if necessary, and again after the connection has ended.
Such programs create a client without ``with``, and call :meth:`Client.close` at the end. A Ping
after ``health_check_interval`` seconds of silence finds out whether the connection is dead, before
anything is sent over it.

**Threads and events.** Threads may share a client; their calls are carried out one at a time. A
thread that waits for events does not hold up the others::

    with Client(username="monitor", secret="...", events="call,system") as client:
        for event in client.events(timeout=None):
            print(event.name, ascii(event.headers.get("CallerIDName")))

A value that is not UTF-8, such as a name in Latin-1, has lone surrogates, which ``print`` may fail
to encode; ``value.encode("utf-8", "surrogateescape")`` returns its bytes.

The client starts no threads. The logger ``amiclient`` reports connections (INFO), lost ones
(WARNING) and each step (DEBUG), without secrets and bodies. :mod:`amiclient.loopback` is a server
for tests, the command ``amisend`` sends from the shell, and :mod:`amiproto` is the protocol without
I/O, for example for asyncio.
"""

from amiproto import (
    FAILED,
    NOT_SENT,
    UNKNOWN,
    Action,
    ActionResult,
    AMIError,
    BodyTooLong,
    Event,
    InvalidAddress,
    InvalidBody,
    InvalidHeader,
    InvalidVariable,
    LineTooLong,
    LocalProtocolError,
    LoginFailed,
    MessageSend,
    NotSent,
    Response,
    TooManyLines,
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
    "ActionFailed",
    "ActionResult",
    "BodyTooLong",
    "CLIENT_TIMEOUT",
    "Client",
    "ClientTimeout",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionLost",
    "Event",
    "EventOverflow",
    "FAILED",
    "InvalidAddress",
    "InvalidBody",
    "InvalidHeader",
    "InvalidVariable",
    "LineTooLong",
    "LocalProtocolError",
    "LoginFailed",
    "MessageSend",
    "NOT_SENT",
    "NotAnAMIServer",
    "NotConnected",
    "NotSent",
    "OutcomeUnknown",
    "Receipt",
    "ReentrantCall",
    "Response",
    "ResponseTimeout",
    "SendFailed",
    "SendResult",
    "SendResults",
    "SendTimeout",
    "TLSError",
    "TooManyLines",
    "UNKNOWN",
    "__version__",
    "split_body",
]
