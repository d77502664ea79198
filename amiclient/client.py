"""The blocking client: one connection, one login, calls that each end by their deadline.

Arguments checked when they are given, with the name of the one that is wrong.

Not when they are used: a time-out of the wrong type would be told by a call at night.
"""

from __future__ import annotations

import logging
import os
import socket
from types import TracebackType
from typing import Any, Dict, Iterable, Iterator, Optional, Tuple, Type, Union

from amiproto import MD5, Action, ActionResult, AMIError, Login, MessageSend, Session
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
    MAX_EVENT_BYTES,
    MAX_EVENTS,
    AMIConnection,
    ClientState,
    EventBuffer,
    UnsolicitedMessage,
)
from ._lock import LockTimeout
from ._pipeline import MAX_WINDOW, SendPipeline, SendResults
from ._transport import Closed, Deadline, Expired, Transport
from .exceptions import ConnectError, NotConnected
from .results import (
    Item,
    Receipt,
    events_ended_error,
    inconclusive_error,
    login_ended_error,
    receipt_of,
    refused,
    unanswered_error,
)

logger = logging.getLogger("amiclient")


class ClientTimeout:
    """Stands for the time-out of the client, where a call names no other.

    There is one, :data:`CLIENT_TIMEOUT`; what wraps a call of the client can pass it on.
    """

    def __repr__(self) -> str:
        return "CLIENT_TIMEOUT"

    def __reduce__(self) -> str:
        return "CLIENT_TIMEOUT"


#: The time-out of a call that names none: that of the client.
CLIENT_TIMEOUT = ClientTimeout()

Timeout = Union[float, None, ClientTimeout]


def checked_timeout(timeout: Any, name: str = "timeout") -> Optional[float]:
    """Seconds (float, 0 or more), or None.

    :raises TypeError, ValueError: for anything else.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"{name} is seconds or None, not {type(timeout).__name__}")
    if not timeout >= 0:  # which not-a-number is not
        raise ValueError(f"{name} is {timeout}; give 0 or more seconds, or None to wait for ever")
    return float(timeout)


def checked_number(number: Any, name: str, least: int, most: Optional[int] = None) -> int:
    """An int within limits.

    :raises TypeError, ValueError: for anything else.
    """
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{name} is an int, not {type(number).__name__}")
    if number < least or most is not None and number > most:
        raise ValueError(
            f"{name} is {number}; give {least} {'or more' if most is None else f'to {most}'}"
        )
    return number


def checked_text(text: Any, name: str) -> str:
    """A str that is not empty.

    :raises TypeError, ValueError: for anything else.
    """
    if not isinstance(text, str):
        raise TypeError(f"{name} is a str, not {type(text).__name__}")
    if not text:
        raise ValueError(f"{name} is empty")
    return text


def checked_secret(secret: Any) -> Union[str, bytes]:
    """A str or bytes that is not empty; it is in no error.

    :raises TypeError, ValueError: for anything else.
    """
    kind = type(secret).__name__
    if not isinstance(secret, (str, bytes, bytearray, memoryview)):
        raise TypeError(f"secret is a str or bytes, not {kind}")
    if not len(secret):
        raise ValueError("secret is empty; Asterisk lets nobody in without one")
    return secret if isinstance(secret, str) else bytes(secret)


#: Seconds that leaving a ``with`` block waits for the server's goodbye, at the most.
_GOODBYE = 2.0


class Client:
    """A connection to an Asterisk server's manager, to send messages and other actions.

    Use it in a ``with`` statement, or call :meth:`connect` and :meth:`close`. After a failure
    :meth:`connect` opens the same client again. Each call ends within its ``timeout``. A failed
    call raises an :class:`amiproto.AMIError` whose ``outcome`` says what became of the action; no
    action is ever sent twice. A call that is interrupted, as by Ctrl-C, closes the connection, or
    has done nothing; no later call sends what was left of it.

    One client may be shared by threads: their calls are carried out one at a time, first come,
    first served, and the wait for one's turn counts; a thread that waits for :meth:`events` lets
    the others go first. :meth:`close` ends a call of another thread, :meth:`connect` too. The child
    of a fork has to :meth:`connect` anew. A signal handler, or ``__del__``, cannot call in the
    middle of a call of the same thread: that is :class:`ReentrantCall`.

    :param host: host name or address, IPv4 or IPv6 (str).
    :param port: TCP port (int, 1 to 65535); None for 5038, or 5039 with TLS.
    :param username: the user's section in manager.conf (str); to send messages it needs the write
        class ``message``.
    :param secret: its secret (str, or bytes where the file is not UTF-8).
    :param timeout: seconds for :meth:`connect`, and for each call that names no other (float);
        None waits for ever.
    :param tls: False or None for a plain connection; True for TLS with the system's CAs; the path
        of a file (PEM) with a CA's or the server's own self-signed certificate; or an
        :class:`ssl.SSLContext`, taken as it is.
    :param tls_hostname: the name to check the certificate for, where it is not ``host`` (str).
    :param mechanism: ``"md5"``, by which the secret does not cross the wire, or ``"plain"``.
    :param events: which events the server is to send: ``"off"``, ``"on"``, or classes such as
        ``"call,system"``.
    :param max_events: events kept while nobody asks for them (int).
    :param max_event_bytes: bytes of them, as they came (int).
    :raises TypeError, ValueError: for an argument of the wrong type or out of range, by its name.
    :raises LocalProtocolError: for a user or secret that the wire cannot carry.
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
        tls: Optional[TLS] = False,
        tls_hostname: Optional[str] = None,
        mechanism: str = MD5,
        events: str = "off",
        max_events: int = MAX_EVENTS,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        self.host = checked_text(host, "host")
        # Nothing else means "no TLS": an empty path is a mistake to be told.
        self._tls = None if tls is None or tls is False else tls
        default = DEFAULT_PORT if self._tls is None else DEFAULT_TLS_PORT
        self.port = default if port is None else checked_number(port, "port", 1, 65535)
        self.timeout = checked_timeout(timeout)
        name = host if tls_hostname is None else checked_text(tls_hostname, "tls_hostname")
        self._tls_hostname = name
        self._mechanism = mechanism
        self._event_mask = checked_text(events, "events")
        self._username = checked_text(username, "username")
        self._secret = checked_secret(secret)
        self._max_events = checked_number(max_events, "max_events", 0)
        self._max_event_bytes = checked_number(max_event_bytes, "max_event_bytes", 0)
        Login(username, self._secret, mechanism=mechanism, events=events)  # may refuse
        self._sock = sock
        self._is_from_socket = sock is not None
        # By process, as the child of a fork has none of the threads that may have a turn, and
        # must not speak on its parent's connection.
        self._by_process: Dict[int, ClientState] = {}

    @classmethod
    def from_url(cls, url: str) -> Client:
        """A client by a URL, as settings files and environment variables hold it.

        ``ami://user:secret@host:5038?timeout=5``, or ``amis://`` for TLS. What is no letter or
        digit in user and secret is written with percent signs. After the question mark may stand
        ``timeout`` (seconds, or ``none``), ``cafile`` (for ``amis``: the path that ``tls`` takes),
        ``tls_hostname``, ``mechanism``, ``events`` and ``max_events``.

        :raises ValueError: for any other URL; the secret is in no error.
        """
        from .url import parse_url

        return cls(**parse_url(url))

    @property
    def connected(self) -> bool:
        """Whether the client is open, as far as is known without asking the server."""
        connection = self._state().connection
        return connection is not None and connection.failure is None

    @property
    def server_version(self) -> Optional[str]:
        """The version of AMI that the server's banner named (str), or None before one came."""
        return self._state().server_version

    def connect(self) -> None:
        """Open the connection and log in; a connection that is open is closed first.

        :raises ConnectError, TLSError: when there is no connection to be had.
        :raises ConnectTimeout: when there is none, or no login, within ``timeout``.
        :raises SendFailed, NotAnAMIServer: when what answers does not go on, or is no manager, and
            when another thread closes the client.
        :raises LoginFailed: when the server does not accept the user and secret.
        """
        deadline = Deadline(self.timeout)
        state = self._state()
        try:
            state.run_locked(lambda: self._open(state, deadline), deadline)
        except LockTimeout as error:
            raise login_ended_error(error, self._where) from None

    def close(self) -> None:
        """Close the connection at once, without a word to the server; closed already is fine.

        The call of another thread ends with an error. From a signal handler in the middle of a
        call, that call ends so, too, when the handler returns.
        """
        self._state().close("the client was closed")
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def logoff(self, *, timeout: Timeout = CLIENT_TIMEOUT) -> None:
        """Say goodbye to the server (``Action: Logoff``), wait for its answer, and close."""
        try:
            self._call(Action("Logoff"), timeout, last=True)
        finally:
            self.close()

    def send_message(
        self,
        to: str,
        body: Union[str, bytes] = "",
        from_: Optional[str] = None,
        variables: Optional[Pairs] = None,
        destination: Optional[str] = None,
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
    ) -> Receipt:
        """Send one message (``Action: MessageSend``) and return what the server said.

        :param to, body, from_, variables, destination: as for :class:`amiproto.MessageSend`.
        :param timeout: seconds for the whole call (float); None waits.
        :return: a :class:`Receipt`: the server took the message, which is not yet delivered.
        :raises LocalProtocolError: for a message that would not arrive as it is.
        :raises NotSent: when the message has not left; to try again is safe.
        :raises ActionFailed: when the server answered with an error.
        :raises OutcomeUnknown: when it left, and no answer came.
        """
        message = MessageSend(to, body, from_, variables, destination)
        return receipt_of(self._execute(message, timeout))

    def send(self, message: MessageSend, *, timeout: Timeout = CLIENT_TIMEOUT) -> Receipt:
        """Send a message that is built already; otherwise as :meth:`send_message`.

        :param message: an :class:`amiproto.MessageSend`; one without ActionID gets one.
        """
        return receipt_of(self._execute(message, timeout))

    def send_messages(
        self,
        messages: Iterable[Item],
        *,
        window: int = 32,
        timeout: Timeout = CLIENT_TIMEOUT,
    ) -> SendResults[Item]:
        """Send many messages, several at a time, and yield what became of each, in order.

        A message that is refused, here or by the server, does not stop the rest. When the
        connection breaks, or an answer takes longer than ``timeout``, the connection is closed:
        each message that was on its way is then ``"unknown"`` and each after it ``"not_sent"``.
        The messages are taken from the iterable as there is room for them, never more than
        ``window`` ahead of the result that is yielded. An error of the iterable itself is raised
        after the results of the messages before it.

        Messages are sent as results are asked for: nothing is sent before the first is. While the
        caller works on a result, or on the next message, up to a window of messages is on its way
        to the server, and no time-out runs; more is written when the next result is asked for.
        Who leaves before the end leaves the rest unsent, and up to a window on its way
        (:class:`SendResults` warns).

        :param messages: any iterable of :class:`amiproto.MessageSend`, or of mappings with the
            arguments of :meth:`send_message`.
        :param window: most messages on their way at once (int, 1 to 1024); over TLS always 1,
            as Asterisk reads no second action there while it carries out one.
        :param timeout: seconds to wait for the answer to each (float), from the moment that it can
            leave; None waits.
        :return: an iterator of :class:`SendResult`.
        :raises NotConnected: when the client is not open; no message is taken then.
        """
        checked_number(window, "window", 1, MAX_WINDOW)
        return SendResults(SendPipeline(self._state, messages, window, self._seconds(timeout)))

    def send_action(self, action: Action, *, timeout: Timeout = CLIENT_TIMEOUT) -> ActionResult:
        """Send any action, and return the server's answer, with its events where it is a list.

        Asterisk 11 gives ``Queues`` and ``DataGet`` no Response: to wait for it takes all the time.

        :param action: an :class:`amiproto.Action`; one without ActionID gets one.
        :param timeout: seconds for the whole call (float); None waits.
        :return: an :class:`amiproto.ActionResult`.
        :raises NotSent, ActionFailed, OutcomeUnknown, LocalProtocolError: as :meth:`send_message`.
        """
        return self._call(action, timeout)

    def command(self, text: str, *, timeout: Timeout = CLIENT_TIMEOUT) -> Tuple[str, ...]:
        """Run a command of Asterisk's CLI (``Action: Command``) and return its output.

        :param text: the command (str); the user needs the write class ``command``.
        :return: the lines (tuple of str), from the answers of old servers and new. Asterisk 11
            says in them alone that it refused the command.
        :raises NotSent, ActionFailed, OutcomeUnknown, LocalProtocolError: as :meth:`send_message`;
            the output of a refused command is in ``error.response.output``.
        """
        return self._call(Action("Command", [("Command", text)]), timeout).response.output

    def ping(self, *, timeout: Timeout = CLIENT_TIMEOUT) -> None:
        """Ask the server for a sign of life (``Action: Ping``).

        :raises NotSent, ActionFailed, OutcomeUnknown: as :meth:`send_message`.
        """
        self._call(Action("Ping"), timeout)

    def events(self, *, timeout: Timeout = CLIENT_TIMEOUT) -> Iterator[UnsolicitedMessage]:
        """Iterate over the events that the server sends; ends when none came in ``timeout``.

        What belongs to no action of this client is given too: an :class:`amiproto.UnknownMessage`,
        or a :class:`amiproto.Response` that answers nothing. Each has ``name`` and ``headers``.

        While it waits, calls of other threads are let through at once; the wait goes on after.

        :param timeout: seconds to wait for each event (float); None waits for ever.
        :raises EventOverflow: when more came than ``max_events`` or ``max_event_bytes`` while
            nobody asked: after those that were kept. To go on, iterate anew.
        :raises ConnectionLost: when the connection breaks, and when another thread closes the
            client or opens it anew; NotConnected when it is not open.
        """
        return self._events(self._seconds(timeout))

    def __enter__(self) -> Client:
        self.connect()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        if kind is not None or not self.connected:
            self.close()
            return
        try:
            self.logoff(timeout=_GOODBYE if self.timeout is None else min(self.timeout, _GOODBYE))
        except AMIError as error:
            logger.debug("no goodbye from the server: %s", error)

    def __repr__(self) -> str:
        state = "connected" if self.connected else "closed"
        return f"<Client {self._username!r} at {self._where}, {state}>"

    def __reduce__(self) -> Tuple[Any, ...]:
        raise TypeError("a client has a connection, and a secret, and cannot be pickled or copied")

    @property
    def _where(self) -> str:
        return "a given socket" if self._is_from_socket else f"{self.host} port {self.port}"

    def _seconds(self, timeout: Timeout) -> Optional[float]:
        return self.timeout if isinstance(timeout, ClientTimeout) else checked_timeout(timeout)

    def _state(self) -> ClientState:
        # Of two threads that come here first, both get the same one.
        return self._by_process.setdefault(os.getpid(), ClientState())

    def _execute(self, action: Action, timeout: Timeout, last: bool = False) -> ActionResult:
        deadline = Deadline(self._seconds(timeout))
        state = self._state()

        def ask() -> ActionResult:
            try:
                return state.open_connection.call(action, deadline)
            finally:
                if last:
                    state.close_locked("the client logged off")

        try:
            return state.run_locked(ask, deadline)
        except LockTimeout as error:
            raise unanswered_error(error, left=False) from None

    def _call(self, action: Action, timeout: Timeout, last: bool = False) -> ActionResult:
        answer = self._execute(action, timeout, last)
        name = answer.response.name
        if name == "Error":
            raise refused(answer)
        if name == "Goodbye" and action.name.lower() != "logoff":
            raise inconclusive_error(answer)
        return answer

    def _events(self, timeout: Optional[float]) -> Iterator[UnsolicitedMessage]:
        deadline = Deadline(timeout)
        listened: Optional[AMIConnection] = None

        def listen() -> Optional[UnsolicitedMessage]:
            nonlocal listened
            connection = state.connection
            if connection is None or not connection.events:
                connection = state.open_connection
            if listened not in (None, connection):
                # What came between the two connections has reached nobody.
                raise Closed("the client was opened anew")
            listened = connection
            return connection.next_event(deadline, state.lock.has_waiters)

        while True:
            state = self._state()
            try:
                event = state.run_locked(listen, deadline, listens=True)
            except Expired:
                return
            except Closed as error:
                raise events_ended_error(error) from error
            if event is not None:  # no other call came first
                yield event
                deadline = Deadline(timeout)

    def _open(self, state: ClientState, deadline: Deadline) -> None:
        for pid in list(self._by_process):
            if self._by_process[pid] is not state:  # a copy of the parent's, who goes on with its
                self._by_process.pop(pid).close_locked("it belongs to the process that opened it")
        state.close_locked("the client was opened anew")
        state.connection = None
        state.transport = transport = Transport()
        reason: Union[Expired, Closed, None] = None
        try:
            self._connect(transport, deadline)
            session = Session(
                self._username,
                self._secret,
                entropy=os.urandom(16),
                mechanism=self._mechanism,
                events=self._event_mask,
            )
            events = EventBuffer(self._max_events, self._max_event_bytes)
            connection = AMIConnection(transport, session, events)
            try:
                connection.log_in(deadline)
            finally:
                banner = session.banner
                state.server_version = None if banner is None else banner.version
            state.connection = connection
        except AMIError:
            transport.close()
            raise
        except (Expired, Closed) as error:
            transport.close()
            reason = error.with_traceback(None)
        if reason is not None:
            # Not out of that error: its frames have seen what passed at the login.
            raise login_ended_error(reason, self._where)
        logger.debug("logged in at %s, AMI %s", self._where, state.server_version)

    def _connect(self, transport: Transport, deadline: Deadline) -> None:
        if self._is_from_socket:
            sock, self._sock = self._sock, None
            if sock is None:
                raise NotConnected(
                    "this client was made of a socket, which is used up; make a new one",
                    retryable=False,
                )
            if sock.fileno() < 0:
                raise ConnectError(
                    "the socket that was given is closed; give an open one", field="sock"
                )
            transport.attach(sock)
            set_socket_options(sock)
        # Before a connection is opened: what is wrong with a file is no reason to open one.
        context = None if self._tls is None else tls_context(self._tls)
        if not self._is_from_socket:
            open_transport(transport, self.host, self.port, deadline)
        if context is not None:
            start_tls(transport, context, self._tls_hostname, deadline)
