"""The blocking client: one connection, one login, calls that each end by their deadline."""

from __future__ import annotations

import os

from amiproto import MD5, Action, AMIError, Login, MessageSend, Session

from . import log
from .arguments import (
    CLIENT_TIMEOUT,
    ClientTimeout,
    checked_number,
    checked_secret,
    checked_text,
    checked_timeout,
)
from .bulk import MAX_WINDOW, Bulk, SendResults
from .deadline import Deadline, Expired
from .errors import ConnectError, NotConnected
from .kept import MAX_EVENT_BYTES, MAX_EVENTS, KeptEvents
from .link import Link
from .opening import DEFAULT_PORT, DEFAULT_TLS_PORT, open_transport, start_tls, tls_context, tune
from .outcomes import (
    given_up,
    listening_ended,
    no_answer,
    not_logged_in,
    receipt_of,
    refused,
)
from .shared import Shared
from .transport import Closed, Transport
from .turns import Busy

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from types import TracebackType
    from typing import Any, Dict, Iterable, Iterator, Optional, Tuple, Type, Union

    from amiproto import Answer
    from amiproto.headers import Pairs

    from .arguments import Timeout
    from .generic import Item
    from .kept import Unasked
    from .opening import TLS
    from .outcomes import Receipt

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
    middle of a call of the same thread: that is :class:`CallInProgress`.

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
        self._is_from_socket = False
        self._given: Optional[socket.socket] = None
        # By process, as the child of a fork has none of the threads that may have a turn, and
        # must not speak on its parent's connection.
        self._by_process: Dict[int, Shared] = {}

    @classmethod
    def from_socket(
        cls,
        sock: socket.socket,
        *,
        username: str,
        secret: Union[str, bytes],
        timeout: Optional[float] = 10.0,
        tls: Optional[TLS] = False,
        tls_hostname: Optional[str] = None,
        mechanism: str = MD5,
        events: str = "off",
        max_events: int = MAX_EVENTS,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> Client:
        """A client over a socket that is connected already: a tunnel, a proxy, a test.

        The socket, which may have TLS on it, belongs to the client from then on. :meth:`connect`,
        or the ``with`` statement, logs in over it, once: there is no address to open it again.

        :param sock: a connected stream socket.

        The others are as for the class; with ``tls``, the certificate is checked for
        ``tls_hostname``, or else for 127.0.0.1.
        """
        client = cls(
            username=username, secret=secret, timeout=timeout, tls=tls, tls_hostname=tls_hostname,
            mechanism=mechanism, events=events, max_events=max_events,
            max_event_bytes=max_event_bytes,
        )  # fmt: skip
        client._given = sock
        client._is_from_socket = True
        return client

    @classmethod
    def from_url(cls, url: str) -> Client:
        """A client by a URL, as settings files and environment variables hold it.

        ``ami://user:secret@host:5038?timeout=5``, or ``amis://`` for TLS. What is no letter or
        digit in user and secret is written with percent signs. After the question mark may stand
        ``timeout`` (seconds, or ``none``), ``cafile`` (for ``amis``: the path that ``tls`` takes),
        ``tls_hostname``, ``mechanism``, ``events`` and ``max_events``.

        :raises ValueError: for any other URL; the secret is in no error.
        """
        from .url import arguments_of

        return cls(**arguments_of(url))

    @property
    def connected(self) -> bool:
        """Whether the client is open, as far as is known without asking the server."""
        link = self._shared().link
        return link is not None and link.failure is None

    @property
    def server_version(self) -> Optional[str]:
        """The version of AMI that the server's banner named (str), or None before one came."""
        return self._shared().server_version

    def connect(self) -> None:
        """Open the connection and log in; a connection that is open is closed first.

        :raises ConnectError, TLSError: when there is no connection to be had.
        :raises ConnectTimeout: when there is none, or no login, within ``timeout``.
        :raises ServerClosed, NotAManager: when what answers does not go on, or is no manager, and
            when another thread closes the client.
        :raises LoginRefused: when the server does not accept the user and secret.
        """
        deadline = Deadline(self.timeout)
        shared = self._shared()
        try:
            shared.in_turn(lambda: self._open(shared, deadline), deadline)
        except Busy as error:
            raise not_logged_in(error, self._where) from None

    def close(self) -> None:
        """Close the connection at once, without a word to the server; closed already is fine.

        The call of another thread ends with an error. From a signal handler in the middle of a
        call, that call ends so, too, when the handler returns.
        """
        self._shared().end("the client was closed")
        given, self._given = self._given, None
        if given is not None:
            given.close()

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
        :raises Refused: when the server answered with an error.
        :raises OutcomeUnknown: when it left, and no answer came.
        """
        message = MessageSend(to, body, from_, variables, destination)
        return receipt_of(self._ask(message, timeout))

    def send(self, message: MessageSend, *, timeout: Timeout = CLIENT_TIMEOUT) -> Receipt:
        """Send a message that is built already; otherwise as :meth:`send_message`.

        :param message: an :class:`amiproto.MessageSend`; one without ActionID gets one.
        """
        return receipt_of(self._ask(message, timeout))

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
        each message that was on its way is then ``"unknown"`` and each after it ``"not sent"``.
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
        return SendResults(Bulk(self._shared, messages, window, self._seconds(timeout)))

    def send_action(self, action: Action, *, timeout: Timeout = CLIENT_TIMEOUT) -> Answer:
        """Send any action, and return the server's answer, with its events where it is a list.

        Asterisk 11 gives ``Queues`` and ``DataGet`` no Response: to wait for it takes all the time.

        :param action: an :class:`amiproto.Action`; one without ActionID gets one.
        :param timeout: seconds for the whole call (float); None waits.
        :return: an :class:`amiproto.Answer`.
        :raises NotSent, Refused, OutcomeUnknown, LocalProtocolError: as :meth:`send_message`.
        """
        return self._call(action, timeout)

    def command(self, text: str, *, timeout: Timeout = CLIENT_TIMEOUT) -> Tuple[str, ...]:
        """Run a command of Asterisk's CLI (``Action: Command``) and return its output.

        :param text: the command (str); the user needs the write class ``command``.
        :return: the lines (tuple of str), from the answers of old servers and new. Asterisk 11
            says in them alone that it refused the command.
        :raises NotSent, Refused, OutcomeUnknown, LocalProtocolError: as :meth:`send_message`;
            the output of a refused command is in ``error.response.output``.
        """
        return self._call(Action("Command", [("Command", text)]), timeout).response.output

    def ping(self, *, timeout: Timeout = CLIENT_TIMEOUT) -> None:
        """Ask the server for a sign of life (``Action: Ping``).

        :raises NotSent, Refused, OutcomeUnknown: as :meth:`send_message`.
        """
        self._call(Action("Ping"), timeout)

    def events(self, *, timeout: Timeout = CLIENT_TIMEOUT) -> Iterator[Unasked]:
        """Iterate over the events that the server sends; ends when none came in ``timeout``.

        What belongs to no action of this client is given too: an :class:`amiproto.Orphan`, or a
        :class:`amiproto.Response` that answers nothing. Each has ``name`` and ``headers``.

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
            log.debug("no goodbye from the server: %s", error)

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

    def _shared(self) -> Shared:
        # Of two threads that come here first, both get the same one.
        return self._by_process.setdefault(os.getpid(), Shared())

    def _ask(self, action: Action, timeout: Timeout, last: bool = False) -> Answer:
        deadline = Deadline(self._seconds(timeout))
        shared = self._shared()

        def ask() -> Answer:
            try:
                return shared.open_link.call(action, deadline)
            finally:
                if last:
                    shared.close("the client logged off")

        try:
            return shared.in_turn(ask, deadline)
        except Busy as error:
            raise given_up(error, left=False) from None

    def _call(self, action: Action, timeout: Timeout, last: bool = False) -> Answer:
        answer = self._ask(action, timeout, last)
        name = answer.response.name
        if name == "Error":
            raise refused(answer)
        if name == "Goodbye" and action.name.lower() != "logoff":
            raise no_answer(answer)
        return answer

    def _events(self, timeout: Optional[float]) -> Iterator[Unasked]:
        deadline = Deadline(timeout)
        listened: Optional[Link] = None

        def listen() -> Optional[Unasked]:
            nonlocal listened
            link = shared.link
            if link is None or not link.events:
                link = shared.open_link
            if listened not in (None, link):
                # What came between the two connections has reached nobody.
                raise Closed("the client was opened anew")
            listened = link
            return link.next_event(deadline, lambda: shared.wanted)

        while True:
            shared = self._shared()
            try:
                event = shared.in_turn(listen, deadline, listens=True)
            except Expired:
                return
            except Closed as error:
                raise listening_ended(error) from error
            if event is not None:  # no other call came first
                yield event
                deadline = Deadline(timeout)

    def _open(self, shared: Shared, deadline: Deadline) -> None:
        for pid in list(self._by_process):
            if self._by_process[pid] is not shared:  # a copy of the parent's, who goes on with its
                self._by_process.pop(pid).close("it belongs to the process that opened it")
        shared.close("the client was opened anew")
        shared.link = None
        shared.transport = transport = Transport()
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
            events = KeptEvents(self._max_events, self._max_event_bytes)
            link = Link(transport, session, events)
            try:
                link.log_in(deadline)
            finally:
                banner = session.banner
                shared.server_version = None if banner is None else banner.version
            shared.link = link
        except AMIError:
            transport.close()
            raise
        except (Expired, Closed) as error:
            transport.close()
            reason = error.with_traceback(None)
        if reason is not None:
            # Not out of that error: its frames have seen what passed at the login.
            raise not_logged_in(reason, self._where)
        log.debug("logged in at %s, AMI %s", self._where, shared.server_version)

    def _connect(self, transport: Transport, deadline: Deadline) -> None:
        if self._is_from_socket:
            sock, self._given = self._given, None
            if sock is None:
                raise NotConnected(
                    "this client was made of a socket, which is used up; make a new one",
                    retryable=False,
                )
            if sock.fileno() < 0:
                raise ConnectError(
                    "the socket that was given is closed; give an open one", field="sock"
                )
            transport.adopt(sock)
            tune(sock)
        # Before a connection is opened: what is wrong with a file is no reason to open one.
        context = None if self._tls is None else tls_context(self._tls)
        if not self._is_from_socket:
            open_transport(transport, self.host, self.port, deadline)
        if context is not None:
            start_tls(transport, context, self._tls_hostname, deadline)
