"""The blocking client: one connection, and calls that each end by their deadline."""

from __future__ import annotations

import logging
import os
import socket
import sys
from enum import Enum
from typing import Any, Dict, Iterable, Iterator, Optional, Tuple, Type, Union

from amiproto import MD5, Action, ActionResult, AMIError, Login, LoginFailed, MessageSend, Session
from amiproto.headers import Pairs

from ._connect import (
    DEFAULT_PORT,
    DEFAULT_TLS_PORT,
    TLS,
    open_transport,
    set_socket_options,
    start_tls,
    tls_context,
)
from ._connection import (
    CLIENT_CLOSED,
    CLOSE_WAIT,
    MAX_EVENT_BYTES,
    MAX_EVENTS,
    AMIConnection,
    Call,
    ClientState,
    EventBuffer,
    UnsolicitedMessage,
)
from ._lock import LockTimeout
from ._pipeline import MAX_WINDOW, SendPipeline, SendResults
from ._transport import MAX_TIMEOUT, Closed, CloseRequested, Deadline, Expired, Transport
from .exceptions import ConnectError, ConnectionLost, NotConnected, ReentrantCall
from .results import (
    MessageT,
    Receipt,
    connect_ended_error,
    receipt_of,
    response_error,
    unanswered_error,
)

logger = logging.getLogger("amiclient")

#: Seconds that leaving a ``with`` block waits for the response to Logoff, at most.
_LOGOFF_TIMEOUT = 2.0


class ClientTimeout(Enum):
    """The type of :data:`CLIENT_TIMEOUT`, for annotations."""

    CLIENT_TIMEOUT = "CLIENT_TIMEOUT"

    def __repr__(self) -> str:
        return self.name


#: The default of every ``timeout``: use the timeout of the client. Code that wraps a call can pass
#: it on.
CLIENT_TIMEOUT = ClientTimeout.CLIENT_TIMEOUT

Timeout = Union[float, None, ClientTimeout]


class Client:
    """A client of one Asterisk server, to send messages and other actions.

    A call connects if it has to, and again after the connection has ended, within its own timeout;
    if that fails, nothing was sent (:class:`amiproto.NotSent`). After :meth:`close`, calls raise
    :class:`NotConnected` until :meth:`connect` or a ``with`` statement. A ``with`` statement of a
    connected client joins it, and the last one to end closes it.

    Each call ends within its ``timeout``. If it fails, it raises an :class:`amiproto.AMIError`
    whose ``outcome`` says whether the action may have been carried out. No action is sent twice. A
    call that is interrupted, for example by Ctrl-C, may have been carried out; what is unsent then
    is never sent, and the next call works, over a new connection if necessary.

    Threads may share a client. Their calls are carried out one at a time, first come, first served;
    the wait for other calls counts towards the timeout. A thread that waits for :meth:`events` lets
    other calls go first. :meth:`close` ends a call of another thread, even :meth:`connect`. After
    a fork, the child has its own connection. A signal handler or ``__del__`` that calls the client
    during a call of the same thread gets :class:`ReentrantCall`.

    :param host: host name or IP address (str).
    :param port: TCP port (int, 1 to 65535); None for 5038, or 5039 with TLS.
    :param username: name of the user's section in manager.conf (str). To send messages, the user
        needs the write class ``message``.
    :param secret: the user's secret (str, or bytes if manager.conf is not UTF-8).
    :param sock: a connected stream socket to use instead of connecting to ``host`` and ``port``,
        such as a tunnel (:class:`socket.socket`, with TLS or without). The client owns it and can
        connect only once.
    :param timeout: seconds for :meth:`connect`, and for each call that does not set a timeout
        (float); None for no limit. The lookup of a host name takes as long as the system's resolver
        allows.
    :param health_check_interval: seconds without data from the server after which Ping is sent
        before the next action, and while :meth:`events` waits (float); None for never. Without a
        response within the timeout (in :meth:`events`, that of the client), the connection has
        ended, and the action is not sent.
    :param tls: False or None for no TLS; True to trust the CAs of the system; the path of a PEM
        file with the certificate to trust, a CA's or the server's own; or an
        :class:`ssl.SSLContext`, which is used unchanged.
    :param tls_hostname: the name that the certificate must have, if not ``host`` (str).
    :param mechanism: ``"md5"``, which does not send the secret itself, or ``"plain"``.
    :param events: the event mask: ``"off"``, ``"on"``, or classes such as ``"call,system"`` (str).
    :param max_events: events to buffer while :meth:`events` is not called (int).
    :param max_event_bytes: size of that buffer in bytes on the wire (int).
    :raises TypeError, ValueError: for an invalid argument.
    :raises LocalProtocolError: for a username or secret that AMI cannot carry, or an event mask
        that Asterisk would ignore.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: Optional[int] = None,
        *,
        username: str,
        secret: Union[str, bytes],
        sock: Optional[socket.socket] = None,
        timeout: Optional[float] = 10.0,
        health_check_interval: Optional[float] = 30.0,
        tls: Optional[TLS] = False,
        tls_hostname: Optional[str] = None,
        mechanism: str = MD5,
        events: str = "off",
        max_events: int = MAX_EVENTS,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        self.host = _check_text(host, "host")
        if "://" in host or "@" in host:  # not quoted: it may hold a secret
            raise ValueError("host must be a name or an address without a user; see from_url()")
        # Only None and False disable TLS; an empty path is an error.
        self._tls = None if tls is None or tls is False else tls
        default_port = DEFAULT_PORT if self._tls is None else DEFAULT_TLS_PORT
        self.port = default_port if port is None else _check_number(port, "port", 1, 65535)
        self.timeout = _check_timeout(timeout)
        self._health_check_interval = _check_timeout(health_check_interval, "health_check_interval")
        if sock is not None and self._tls is not None and tls_hostname is None:
            raise ValueError("tls_hostname is required with sock and tls")
        name = host if tls_hostname is None else _check_text(tls_hostname, "tls_hostname")
        self._tls_hostname = name
        self._mechanism = mechanism
        self._event_mask = events
        self._username = _check_text(username, "username")
        Login(username, secret, mechanism=mechanism, events=events)  # raises if invalid
        if not secret:
            raise ValueError("secret is empty; Asterisk rejects a login without one")
        self._secret = secret if isinstance(secret, str) else bytes(secret)
        self._max_events = _check_number(max_events, "max_events", 0)
        self._max_event_bytes = _check_number(max_event_bytes, "max_event_bytes", 0)
        self._sock = sock
        self._is_over_sock = sock is not None
        # By process id: the child of a fork has none of the threads that may hold the lock, and
        # must not use the connection of its parent.
        self._states: Dict[int, ClientState] = {}

    @classmethod
    def from_url(cls, url: str) -> Client:
        """Return a client for a URL, as in configuration files and environment variables.

        ``ami://user:secret@host:5038?timeout=5``, or ``amis://`` for TLS. Percent-encode reserved
        characters in the username and the secret. The options are ``timeout`` and
        ``health_check_interval`` (seconds or ``none``), ``mechanism``, ``events``, ``max_events``,
        and for ``amis`` also ``cafile`` (the path for ``tls``) and ``tls_hostname``.

        :raises ValueError, LocalProtocolError: if the URL is invalid; the error never contains the
            secret.
        """
        from .url import parse_url

        return cls(**parse_url(url))

    @property
    def connected(self) -> bool:
        """True if the client is connected, as far as is known without asking the server."""
        return self._state().is_connected

    @property
    def server_version(self) -> Optional[str]:
        """The AMI version in the server's banner (str), or None before the first login."""
        return self._state().server_version

    def connect(self) -> None:
        """Connect and log in; an open connection is closed first.

        :raises ConnectError, TLSError: if the connection cannot be established, or ends before the
            login is complete, also because another thread closes the client.
        :raises ConnectTimeout: if it takes longer than ``timeout``.
        :raises NotAnAMIServer: if the server does not speak AMI.
        :raises LoginFailed: if the server rejects the username or secret.
        :raises NotConnected: if the given ``sock`` was used already.
        """
        self._connect_or_join(join=False)

    def close(self) -> None:
        """Close the connection immediately, without Logoff.

        Calls raise :class:`NotConnected` until :meth:`connect` or a ``with`` statement. A call of
        another thread fails at once, or after its lookup of the host. If a signal handler closes
        the client during a call of the same thread, that call fails when the handler returns.
        """
        self._state().close()
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def logoff(self, *, timeout: Timeout = CLIENT_TIMEOUT) -> None:
        """Log off (``Action: Logoff``), wait for the response, and close as :meth:`close` does.

        :raises NotConnected: if the client is not connected.
        :raises NotSent, OutcomeUnknown: as :meth:`send_message`.
        """
        try:
            self._call(Action("Logoff"), timeout)
        finally:
            self.close()

    def send_message(
        self,
        to: str,
        body: Union[str, bytes],
        from_: Optional[str] = None,
        variables: Optional[Pairs] = None,
        destination: Optional[str] = None,
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
    ) -> Receipt:
        """Send a message (``Action: MessageSend``) and wait for the response.

        :param to, body, from_, variables, destination: as for :class:`amiproto.MessageSend`.
        :param timeout: seconds for the whole call (float); None for no limit.
        :return: a :class:`Receipt`: the server accepted the message, which may still not be
            delivered.
        :raises LocalProtocolError: if the message would not arrive unchanged.
        :raises NotSent: if the message was not sent; sending again is safe.
        :raises ActionFailed: if the server returned an error.
        :raises OutcomeUnknown: if it was sent and no valid response arrived.
        """
        action_id = os.urandom(16).hex()
        message = MessageSend(to, body, from_, variables, destination, action_id)
        return receipt_of(self._execute(message, timeout))

    def send(self, message: MessageSend, *, timeout: Timeout = CLIENT_TIMEOUT) -> Receipt:
        """Send a message object; otherwise as :meth:`send_message`.

        :param message: an :class:`amiproto.MessageSend`. It gets an ActionID if it has none.
        """
        if not isinstance(message, MessageSend):
            raise TypeError(f"message must be a MessageSend, not {type(message).__name__}")
        return receipt_of(self._execute(message, timeout))

    def send_messages(
        self,
        messages: Iterable[MessageT],
        *,
        window: int = 32,
        timeout: Timeout = CLIENT_TIMEOUT,
    ) -> SendResults[MessageT]:
        """Send many messages, several at a time, and yield their results in order.

        A message that is invalid, or fails on the server, does not stop the others. If the
        connection ends, or a response takes longer than ``timeout``, the connection is closed: the
        messages in flight are then ``"unknown"`` and the rest ``"not_sent"``. Messages are read
        from the iterable when they can be sent, at most ``window`` ahead of the last result. An
        exception of the iterable is raised after the results of the messages before it.

        The first request for a result connects if necessary, and only while results are requested,
        messages are sent. While the caller works on a result or on the next message, up to
        ``window`` messages are in flight and no timeout runs. If iteration stops early, these may
        still be delivered and the rest is not sent; :class:`SendResults` warns then.

        :param messages: an iterable of :class:`amiproto.MessageSend`, or of mappings with the
            arguments of :meth:`send_message`. Other keys are ignored, but one that is almost an
            argument, such as ``from``, makes a message invalid.
        :param window: the maximum number of messages in flight (int, 1 to 1024). Over TLS it is
            always 1, because Asterisk does not read ahead there.
        :param timeout: seconds to wait for each result (float); None for no limit.
        :return: an iterator of :class:`SendResult`. The first request raises a :class:`NotSent` if
            the client cannot connect; nothing is read from the iterable then.
        :raises TypeError, ValueError: for an invalid window or timeout.
        """
        _check_number(window, "window", 1, MAX_WINDOW)
        seconds = self._seconds(timeout)
        return SendResults(SendPipeline(self._state, self._ready, messages, window, seconds))

    def send_action(self, action: Action, *, timeout: Timeout = CLIENT_TIMEOUT) -> ActionResult:
        """Send any action and wait for the response, and for the events if it is a list.

        ``Queues`` up to Asterisk 14, and ``DataGet`` with data on 11, get no response and time out.

        :param action: an :class:`amiproto.Action`. It gets an ActionID if it has none.
        :param timeout: seconds for the whole call (float); None for no limit.
        :return: an :class:`amiproto.ActionResult`.
        :raises NotSent, ActionFailed, OutcomeUnknown, LocalProtocolError: as :meth:`send_message`.
        """
        if not isinstance(action, Action):
            raise TypeError(f"action must be an Action, not {type(action).__name__}")
        return self._call(action, timeout)

    def command(self, text: str, *, timeout: Timeout = CLIENT_TIMEOUT) -> Tuple[str, ...]:
        """Run a command of the Asterisk CLI (``Action: Command``) and return its output.

        :param text: the command (str); the user needs the write class ``command``.
        :return: the lines (tuple of str). From Asterisk 11, a failure is visible only in them.
        :raises NotSent, ActionFailed, OutcomeUnknown, LocalProtocolError: as :meth:`send_message`;
            the output of a failed command is ``error.response.output``.
        """
        return self._call(Action("Command", [("Command", text)]), timeout).response.output

    def ping(self, *, timeout: Timeout = CLIENT_TIMEOUT) -> None:
        """Check that the server responds (``Action: Ping``).

        :raises NotSent, ActionFailed, OutcomeUnknown: as :meth:`send_message`.
        """
        self._call(Action("Ping"), timeout)

    def events(self, *, timeout: Timeout = CLIENT_TIMEOUT) -> Iterator[UnsolicitedMessage]:
        """Iterate over events; end if none arrives within ``timeout``.

        The server sends none to a client with ``events="off"``, the default.

        Messages that belong to no action of this client are yielded as well: an
        :class:`amiproto.UnknownMessage`, or an :class:`amiproto.Response` that matches no pending
        action. Each has ``name`` and ``headers``.

        :param timeout: seconds to wait for each event (float); None for no limit.
        :raises EventOverflow: if events were dropped, after those in the buffer. Call this method
            again to continue.
        :raises ConnectionLost: once, if the connection ends, or another thread closes or reconnects
            the client. Call this method again to reconnect.
        :raises NotSent: if the client cannot connect.
        """
        return self._events(self._seconds(timeout))

    def __enter__(self) -> Client:
        self._connect_or_join(join=True)
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], *_: object) -> None:
        state = self._state()
        del state.users[-1:]
        if state.users:  # other ``with`` statements
            return
        timeout = _LOGOFF_TIMEOUT if kind is None else CLOSE_WAIT
        deadline = Deadline(timeout if self.timeout is None else min(self.timeout, timeout))
        try:
            with Call(state, deadline):
                if state.users:  # another thread has joined meanwhile
                    return
                state.closed = True
                if kind is None and state.connection and state.connection.failure is None:
                    state.connection.call(Action("Logoff"), deadline)
        except (LockTimeout, ReentrantCall):
            self.close()
        except (AMIError, Expired) as error:
            logger.debug("logoff failed: %s", error)

    def __repr__(self) -> str:
        if "_states" not in vars(self):  # in the traceback of a failed __init__()
            return "<Client, not initialized>"
        status = "connected" if self.connected else "closed"
        return f"<Client {self._username!r} at {self._where}, {status}>"

    def __reduce__(self) -> Tuple[Any, ...]:
        raise TypeError("a Client cannot be pickled or copied")

    @property
    def _where(self) -> str:
        return "the given socket" if self._is_over_sock else f"{self.host} port {self.port}"

    def _seconds(self, timeout: Timeout) -> Optional[float]:
        return self.timeout if isinstance(timeout, ClientTimeout) else _check_timeout(timeout)

    def _state(self) -> ClientState:
        pid = os.getpid()
        state = self._states.get(pid)
        if state is None:
            closed = any(other.closed for other in list(self._states.values()))
            # setdefault() is atomic: threads that come here at the same time get the same object.
            state = self._states.setdefault(pid, ClientState(closed))
        return state

    def _connect_or_join(self, join: bool) -> None:
        """Connect; with ``join``, use an open connection and count the ``with`` statement."""
        deadline = Deadline(self.timeout)
        state = self._state()
        try:
            with Call(state, deadline):
                state.closed = False
                if not join or not state.is_connected:
                    self._open(state, deadline)
                if join:
                    state.users.append(None)
        except LockTimeout as error:
            raise connect_ended_error(error, self._where) from None

    def _ready(
        self, state: ClientState, deadline: Deadline, action: Optional[Action] = None
    ) -> AMIConnection:
        """Return an open connection; connect if there is none or it has ended."""
        connection = state.connection
        if not state.closed and connection and connection.check_alive(deadline):
            return connection
        if state.closed or (action is not None and action.name.lower() == "logoff"):
            raise NotConnected(CLIENT_CLOSED if state.closed else "not connected")
        return self._open(state, deadline)

    def _execute(self, action: Action, timeout: Timeout) -> ActionResult:
        """Send an action and return its result, for any response."""
        deadline = Deadline(self._seconds(timeout))
        state = self._state()
        try:
            with Call(state, deadline):
                return self._ready(state, deadline, action).call(action, deadline)
        except Expired as error:
            raise unanswered_error(error, sent=False) from None

    def _call(self, action: Action, timeout: Timeout) -> ActionResult:
        """Send an action and return its result, unless the response means that it failed."""
        result = self._execute(action, timeout)
        name = result.response.name
        if name == "Error" or name == "Goodbye" and action.name.lower() != "logoff":
            raise response_error(result)
        return result

    def _events(self, timeout: Optional[float]) -> Iterator[UnsolicitedMessage]:
        connection: Optional[AMIConnection] = None
        while True:
            deadline = Deadline(timeout)
            event = None
            try:
                while event is None:  # None: another call needed the connection
                    state = self._state()
                    with Call(state, deadline, is_listener=True):
                        if connection is None:
                            connection = self._listen(state, deadline)
                        event = connection.next_event(
                            deadline, state.lock.has_waiters, self.timeout
                        )
            except Expired:
                return
            except Closed as error:
                message = f"the connection ended while waiting for events: {error}"
                raise ConnectionLost(message) from error
            yield event

    def _listen(self, state: ClientState, deadline: Deadline) -> AMIConnection:
        """Return the connection whose events are next; connect if there is none."""
        connection = state.connection
        if connection is None or connection.failure is not None and not connection.events:
            limit = Deadline(self.timeout) if deadline.remaining() is None else deadline
            connection = self._ready(state, limit)
        return connection

    def _open(self, state: ClientState, deadline: Deadline) -> AMIConnection:
        for pid in list(self._states):
            if self._states[pid] is not state:  # a copy; the parent process keeps its own
                self._states.pop(pid).close_locked("the connection belongs to the parent process")
        state.close_locked("the client was reconnected")
        reason: Union[Expired, Closed, LoginFailed]
        try:
            state.transport = transport = Transport()
            if state.closed:  # meanwhile; from here on, close() asks the transport
                raise CloseRequested(CLIENT_CLOSED)
            self._connect(transport, deadline)
            session = Session(
                self._username,
                self._secret,
                entropy=os.urandom(16),
                mechanism=self._mechanism,
                events=self._event_mask,
            )
            events = EventBuffer(self._max_events, self._max_event_bytes)
            connection = AMIConnection(transport, session, events, self._health_check_interval)
            connection.log_in(deadline)
            state.server_version = session.banner.version if session.banner else None
            state.connection = connection
            logger.info("connected to %s, AMI %s", self._where, state.server_version)
            return connection
        except BaseException as error:
            state.close_locked("the login failed")
            if not isinstance(error, (Expired, Closed, LoginFailed)):
                raise
            reason = error.with_traceback(None)
        # Raised here and not above, because the frames of that traceback may hold the secret.
        raise connect_ended_error(reason, self._where)

    def _connect(self, transport: Transport, deadline: Deadline) -> None:
        if self._is_over_sock:
            sock, self._sock = self._sock, None
            if sock is None:
                raise NotConnected(
                    "the given socket was used already; the client cannot reconnect",
                    retryable=False,
                )
            if sock.fileno() < 0:
                raise ConnectError("the given socket is closed", field="sock")
            transport.attach(sock)
            set_socket_options(sock)
        # Before connecting, so that an unreadable file does not cost a connection.
        context = None if self._tls is None else tls_context(self._tls)
        if not self._is_over_sock:
            open_transport(transport, self.host, self.port, deadline)
        if context is not None:
            start_tls(transport, context, self._tls_hostname, deadline)


def _check_timeout(timeout: Any, name: str = "timeout") -> Optional[float]:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"{name} must be a number or None, not {type(timeout).__name__}")
    if not timeout >= 0:  # also true of NaN
        raise ValueError(f"{name} is {timeout}; the minimum is 0")
    return float(min(timeout, MAX_TIMEOUT))


def _check_number(number: Any, name: str, minimum: int, maximum: int = sys.maxsize) -> int:
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{name} must be an int, not {type(number).__name__}")
    if not minimum <= number <= maximum:
        limits = f"minimum is {minimum}" if number < minimum else f"maximum is {maximum}"
        raise ValueError(f"{name} is {number}; the {limits}")
    return number


def _check_text(text: Any, name: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a str, not {type(text).__name__}")
    if not text:
        raise ValueError(f"{name} is empty")
    return text
