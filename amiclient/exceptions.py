"""The exceptions of the client, by the question that matters: may the message have been sent?

They extend the exceptions of the codec, :mod:`amiproto.exceptions`::

    AMIError
    ├── NotSent                  not sent; sending again is safe
    │   ├── LocalProtocolError   (amiproto) invalid message or argument
    │   ├── LoginFailed          (amiproto) the server rejected the username or secret
    │   ├── ConnectError         no connection: unknown host, refused, unreachable, closed
    │   │   └── TLSError         no TLS, or the certificate is not trusted
    │   ├── ConnectTimeout       no connection, or no login, within the timeout
    │   ├── NotAnAMIServer       the server does not speak AMI
    │   ├── NotConnected         the client was closed
    │   ├── ReentrantCall        this thread is already in a call of this client
    │   ├── SendFailed           the connection ended before the action was sent
    │   └── SendTimeout          timeout before the action was sent
    ├── ActionFailed             the server returned an error; a message was not sent
    ├── OutcomeUnknown           sent, but no valid response; it may have been carried out
    │   ├── ConnectionLost       the connection ended before the response
    │   └── ResponseTimeout      no response within the timeout
    └── EventOverflow            events were dropped because the buffer was full

``outcome`` is ``"not_sent"``, ``"failed"`` or ``"unknown"``. ``retryable`` is True if the same call
may succeed later and repeating it cannot send anything twice: the class decides, or for
:class:`ActionFailed` the response. An error that is not retryable, such as a body that is too long,
occurs again every time. :class:`EventOverflow` is about no action; its outcome means nothing.
"""

from __future__ import annotations

from typing import Optional

from amiproto import Response
from amiproto.exceptions import FAILED, SHUTTING_DOWN, UNKNOWN, AMIError, NotSent

#: The error message before the modules are loaded: AMI accepts logins earlier (11.25, 16.28,
#: 22.10: for 0.01 to 0.2 s after a start). Nothing was carried out.
TECHNOLOGY_NOT_FOUND = "Message technology not found."

#: The error message if the endpoint does not exist, or its AOR has no contact: the same message
#: arrives after a REGISTER (11.25, 16.28, 22.10). Nothing was carried out.
MESSAGE_FAILED = "Message failed to send."

#: The error message without the write class that an action needs, ``message`` for MessageSend
#: (11.25, 16.28, 22.10).
PERMISSION_DENIED = "Permission denied"

_TEMPORARY = (SHUTTING_DOWN, TECHNOLOGY_NOT_FOUND, MESSAGE_FAILED)


class ConnectError(NotSent, ConnectionError):
    """The connection could not be established, or ended before the login was complete. Retryable.

    Asterisk closes a connection when it is stopped, when ``authlimit`` clients are not logged in
    yet, and when a login takes longer than ``authtimeout``. If the system reported the failure,
    ``__cause__`` is the OSError.
    """


class TLSError(ConnectError):
    """The server does not use TLS, or its certificate is not trusted or is for another name.

    Not retryable, because the configuration has to change, unless the server closed the connection
    during the handshake.
    """

    retryable = False


class ConnectTimeout(NotSent, TimeoutError):
    """No connection, no banner or no response to the login within the timeout. Retryable."""


class SendFailed(NotSent, ConnectionError):
    """The connection ended before the action was sent. Retryable."""


class NotAnAMIServer(NotSent):
    """The server at this host and port does not speak AMI.

    Not retryable: the configuration has to change.
    """

    retryable = False


class NotConnected(NotSent):
    """The client was closed. Retryable after ``connect()`` or in a ``with`` statement."""


class ReentrantCall(NotSent, RuntimeError):
    """A signal handler or ``__del__`` called the client during another call of the same thread.

    Also raised for a :class:`SendResults` that is being read already. The other call goes on.
    Retryable when it has ended. In a signal handler, set a flag and send later, or use another
    client. The handler must catch the exceptions of clients: one that leaves it ends the other
    call, whose message may have been sent.
    """


class SendTimeout(NotSent, TimeoutError):
    """The timeout passed before the last byte of the action was sent. Retryable."""


class ActionFailed(AMIError):
    """The server returned ``Response: Error``.

    A MessageSend was not carried out then; another action may have been, at least in part: an
    Originate fails after the dialplan has run (22.10). Retryable if the same call may succeed
    later: while the server is shutting down or starting, and if the endpoint has no contact yet.

    :ivar response: the :class:`amiproto.Response`; ``Response("Error")`` if the exception was
        created from its message alone.
    :ivar str server_message: the ``Message`` header of the response.
    """

    outcome = FAILED

    def __init__(
        self,
        message: str = "",
        *,
        response: Response = Response("Error"),
        action_id: Optional[str] = None,
    ) -> None:
        self.response = response
        self.server_message = response.message
        is_temporary = self.server_message in _TEMPORARY
        super().__init__(message, action_id=action_id, retryable=is_temporary)


class OutcomeUnknown(AMIError):
    """The action was sent, but no valid response arrived. It may have been carried out.

    Not retryable, including its subclasses: the message might arrive twice.
    """

    outcome = UNKNOWN


class ConnectionLost(OutcomeUnknown, ConnectionError):
    """The connection ended before the response, or while ``events()`` waited. Not retryable.

    Asterisk carries out an action before it sends the response.
    """


class ResponseTimeout(OutcomeUnknown, TimeoutError):
    """No response within the timeout. Not retryable.

    The connection is closed: a session is one thread of the server, and no response would follow.
    """


class EventOverflow(AMIError):
    """More events arrived than the client buffers.

    Retryable: call ``events()`` again to get the events after the gap.

    :ivar int actual: the number of events dropped since the last one returned.
    """

    retryable = True
