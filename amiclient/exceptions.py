"""What can go wrong with a call, sorted by what matters most: may the message have been sent?

The tree, below the codec's own (:mod:`amiproto.errors`)::

    AMIError
    ├── LocalProtocolError, LoginFailed    (amiproto) nothing was sent; trying again is no use
    ├── NotSent                  nothing was carried out: to send it again is safe
    │   ├── ConnectError         no connection: name, address, refused, unreachable
    │   │   └── TLSError         no TLS, or a certificate that is not trusted
    │   ├── ConnectTimeout       no connection, banner or login in time
    │   ├── SendFailed         the connection ended before the action left
    │   ├── NotAnAMIServer          what answered does not speak AMI
    │   ├── NotConnected         the client is not open, or was opened by another process
    │   ├── ReentrantCall       the same thread is in the middle of a call of this client
    │   └── SendTimeout          the time was up before the action had left
    ├── ActionFailed                  the server answered with an error: not carried out
    ├── OutcomeUnknown           the action left and no answer came: it may have been carried out
    │   ├── ConnectionLost       the connection broke before the answer
    │   └── ResponseTimeout        no answer in time
    └── EventOverflow            more events came than were asked for and kept

Each has the attributes ``outcome`` (``"not_sent"``, ``"failed"`` or ``"unknown"``: what became of
the action) and ``retryable`` (whether the same again may work, and is safe). What was not sent and
is not retryable never works without a change: who queues again by ``outcome`` alone loops for ever.
"""

from __future__ import annotations

from typing import Optional

from amiproto import Response
from amiproto.exceptions import FAILED, SHUTTING_DOWN, UNKNOWN, AMIError, NotSent


class ConnectError(NotSent, ConnectionError):
    """No connection could be made; ``__cause__`` is the system's own error. Retryable."""


class TLSError(ConnectError):
    """The server speaks no TLS, or its certificate is not trusted or for another name.

    Not retryable: settings have to change.
    """

    retryable = False


class ConnectTimeout(NotSent, TimeoutError):
    """No connection, no banner, or no answer to the login in time. Retryable."""


class SendFailed(NotSent, ConnectionError):
    """The connection ended before anything of this call was sent on it. Retryable.

    Servers close when they are stopped, when ``authlimit`` clients wait to log in, and when a login
    takes longer than ``authtimeout``.
    """


class NotAnAMIServer(NotSent):
    """What answers at that host and port does not speak AMI.

    Not retryable: settings have to change.
    """

    retryable = False


class NotConnected(NotSent):
    """The client is not open; call ``connect()``, or use it in a ``with`` statement.

    Retryable, once it is open.
    """


class ReentrantCall(NotSent, RuntimeError):
    """The same thread is in the middle of another call of this client, which goes on.

    So it is in a handler of a signal, or in ``__del__``. Retryable, when that call has ended: set a
    flag there, and send by it later, or use a client of its own there.
    """


class SendTimeout(NotSent, TimeoutError):
    """The time was up before the last byte of the action had left. Retryable."""


class ActionFailed(AMIError):
    """The server answered ``Response: Error``: it did not carry the action out.

    Not retryable, but where the server says that it is shutting down: the next one may take it.

    :ivar response: the answer (:class:`amiproto.Response`); a bare ``Error`` where the error was
        made without one, as by a queue that keeps only the sentence.
    :ivar str server_message: its ``Message`` header.
    """

    outcome = FAILED

    def __init__(
        self,
        message: str = "",
        *,
        response: Optional[Response] = None,
        action_id: Optional[str] = None,
    ) -> None:
        response = Response("Error") if response is None else response
        words = response.message
        super().__init__(message, action_id=action_id, retryable=words == SHUTTING_DOWN)
        self.response = response
        self.server_message = words


class OutcomeUnknown(AMIError):
    """The action left, and no answer came: whether it was carried out is not known.

    Not retryable, and neither is any class below: it might arrive twice.
    """

    outcome = UNKNOWN


class ConnectionLost(OutcomeUnknown, ConnectionError):
    """The connection broke, or the server stopped, before the answer came. Not retryable.

    A server carries out an action before it answers it, so that the message may have arrived.
    """


class ResponseTimeout(OutcomeUnknown, TimeoutError):
    """No answer in time. The session goes on; an answer that comes later is dropped.

    Not retryable.
    """


class EventOverflow(AMIError):
    """More events came than the client keeps while nobody asks for them.

    Retryable: iterate anew, and the events after the gap come.

    :ivar int actual: how many were lost since the last one given.
    """

    retryable = True
