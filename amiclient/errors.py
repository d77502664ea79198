"""What can go wrong with a call, sorted by what matters most: may the message have been sent?

The tree, below the codec's own (:mod:`amiproto.errors`)::

    AMIError
    ├── LocalProtocolError, LoginRefused    (amiproto) nothing was sent; trying again is no use
    ├── NotSent                  nothing was carried out: to try again is safe
    │   ├── ConnectError         no connection: name, address, refused, unreachable
    │   │   └── TLSError         no TLS, or a certificate that is not trusted
    │   ├── ConnectTimeout       no connection, banner or login in time
    │   ├── ServerClosed         the server closed before the action left
    │   ├── NotAManager          what answered does not speak AMI
    │   ├── NotConnected         the client is not open, or was opened by another process
    │   └── SendTimeout          the time was up before the action had left
    ├── Refused                  the server answered with an error: not carried out
    ├── OutcomeUnknown           the action left and no answer came: it may have been carried out
    │   ├── ConnectionLost       the connection broke before the answer
    │   └── AnswerTimeout        no answer in time
    └── EventOverflow            more events came than were asked for and kept

Each has the attribute ``outcome``: ``"not sent"``, ``"refused"`` or ``"unknown"``.
"""

from __future__ import annotations

from amiproto.errors import NOT_SENT, REFUSED, UNKNOWN, AMIError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from amiproto import Response


class NotSent(AMIError):
    """Nothing was carried out by the server: to try again is safe."""

    outcome = NOT_SENT
    retryable = True


class ConnectError(NotSent, ConnectionError):
    """No connection could be made; ``__cause__`` is the system's own error."""


class TLSError(ConnectError):
    """The server speaks no TLS, or its certificate is not trusted or for another name."""

    retryable = False


class ConnectTimeout(NotSent, TimeoutError):
    """No connection, no banner, or no answer to the login in time."""


class ServerClosed(NotSent, ConnectionError):
    """The server closed the connection before anything was sent on it."""


class NotAManager(NotSent):
    """What answers at that host and port does not speak AMI."""

    retryable = False


class NotConnected(NotSent):
    """The client is not open; call ``connect()``, or use it in a ``with`` statement."""


class SendTimeout(NotSent, TimeoutError):
    """The time was up before the last byte of the action had left."""


class Refused(AMIError):
    """The server answered ``Response: Error``: it did not carry the action out.

    :ivar response: the answer (:class:`amiproto.Response`).
    :ivar str server_message: its ``Message`` header.
    """

    outcome = REFUSED

    def __init__(
        self, message: str, *, response: Response, action_id: Optional[str] = None
    ) -> None:
        super().__init__(message, action_id=action_id)
        self.response = response
        self.server_message = response.message


class OutcomeUnknown(AMIError):
    """The action left, and no answer came: whether it was carried out is not known."""

    outcome = UNKNOWN


class ConnectionLost(OutcomeUnknown, ConnectionError):
    """The connection broke, or the server stopped, before the answer came."""


class AnswerTimeout(OutcomeUnknown, TimeoutError):
    """No answer in time. The session goes on; an answer that comes later is dropped."""


class EventOverflow(AMIError):
    """More events came than the client keeps while nobody asks for them.

    :ivar int actual: how many were lost since the last one given.
    """
