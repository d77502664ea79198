"""The blocking client: one connection, one login, calls that each end by their deadline."""

from __future__ import annotations

import os
from threading import RLock

from amiproto import MD5, Action, AMIError, MessageSend, RemoteProtocolError, Session

from .bulk import MAX_WINDOW, send_messages
from .deadline import Deadline, Expired
from .errors import (
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    EventOverflow,
    NotAManager,
    NotConnected,
    OutcomeUnknown,
    Refused,
    SendTimeout,
    ServerClosed,
)
from .link import Link
from .log import log
from .opening import DEFAULT_PORT, DEFAULT_TLS_PORT, open_socket, start_tls, tls_context, tune
from .results import Receipt, Reply
from .transport import Closed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from types import TracebackType
    from typing import Any, Callable, Iterable, Iterator, Mapping, Optional
    from typing import Tuple, Type, Union

    from amiproto import Answer, Message
    from amiproto.headers import Pairs

    from .opening import TLS
    from .results import SendResult

#: Events kept while nobody asks for them; at some kilobytes each, tens of megabytes at the most.
MAX_EVENTS = 10_000

#: Seconds that leaving a ``with`` block waits for the server's goodbye, at the most.
_GOODBYE = 2.0

_DEFAULT: Any = object()


class Client:
    """A connection to an Asterisk server's manager, to send messages and other actions.

    Use it in a ``with`` statement, or call :meth:`connect` and :meth:`close`. After a failure
    :meth:`connect` opens the same client again. Each call ends within its ``timeout``. A failed
    call raises an :class:`amiproto.AMIError` whose ``outcome`` says what became of the action; no
    action is ever sent twice. A call that is interrupted, as by Ctrl-C, closes the connection.

    One client may be shared by threads: their calls are carried out one at a time, and the wait
    for one's turn counts; :meth:`close` ends a call of another thread. The child of a fork has to
    :meth:`connect` anew.

    :param host: host name or address, IPv4 or IPv6 (str).
    :param port: TCP port (int); None for 5038, or 5039 with TLS.
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
    ) -> None:
        self.host = host
        # Nothing else means "no TLS": an empty path is a mistake to be told.
        self._tls = None if tls is None or tls is False else tls
        default = DEFAULT_PORT if self._tls is None else DEFAULT_TLS_PORT
        self.port = default if port is None else port
        self.timeout = timeout
        self._tls_hostname = tls_hostname or host
        self._mechanism = mechanism
        self._event_mask = events
        self._username = username
        self._secret = secret
        self._session = self._new_session()
        self._from_socket = False
        self._given: Optional[socket.socket] = None
        self._link: Optional[Link] = None
        self._pid = 0  # of the process that opened the link
        self._lock, self._lock_pid = RLock(), os.getpid()
        self._max_events = max_events

    @classmethod
    def from_socket(
        cls, sock: socket.socket, *, username: str, secret: Union[str, bytes], **options: Any
    ) -> Client:
        """A client over a socket that is connected already: a tunnel, a proxy, a test.

        The socket, which may have TLS on it, belongs to the client from then on. :meth:`connect`,
        or the ``with`` statement, logs in over it, once: there is no address to open it again.

        :param sock: a connected stream socket.
        :param options: ``timeout``, ``mechanism``, ``events``, ``max_events``, and ``tls`` with
            ``tls_hostname``, as for the class.
        """
        client = cls(username=username, secret=secret, **options)
        client._given = sock
        client._from_socket = True
        return client

    @property
    def connected(self) -> bool:
        """Whether the client is open, as far as is known without asking the server."""
        link = self._link
        return link is not None and link.failure is None and self._pid == os.getpid()

    @property
    def server_version(self) -> Optional[str]:
        """The version of AMI that the server's banner named (str), or None before one came."""
        banner = self._session.banner
        return None if banner is None else banner.version

    def connect(self) -> None:
        """Open the connection and log in; a connection that is open is closed first.

        :raises ConnectError, TLSError: when there is no connection to be had.
        :raises ConnectTimeout: when there is none, or no login, within ``timeout``.
        :raises ServerClosed, NotAManager: when what answers does not go on, or is no manager.
        :raises LoginRefused: when the server does not accept the user and secret.
        """
        deadline = Deadline(self.timeout)
        turn = self._take_turn(deadline)
        try:
            link, self._link = self._link, None
            if link is not None:
                link.close("the client was opened anew")
            session = self._new_session()
            sock = self._open_socket(deadline)
            self._session, self._pid = session, os.getpid()
            self._link = link = Link(sock, session, self._max_events)
            self._log_in(link, deadline)
        except BaseException:
            self.close()
            raise
        finally:
            turn.release()

    def close(self) -> None:
        """Close the connection at once, without a word to the server; closed already is fine."""
        lock = self._own_lock()
        if not lock.acquire(blocking=False):
            link = self._link
            if link is not None and self._pid == os.getpid():
                link.end("the client was closed")  # whoever has the turn gives it up then
            lock.acquire()
        try:
            link, self._link = self._link, None
            if link is not None:
                link.close("the client was closed")
            given, self._given = self._given, None
            if given is not None:
                given.close()
        finally:
            lock.release()

    def logoff(self, timeout: Optional[float] = _DEFAULT) -> None:
        """Say goodbye to the server (``Action: Logoff``), wait for its answer, and close."""
        try:
            self._call(Action("Logoff"), timeout)
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
        timeout: Optional[float] = _DEFAULT,
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

    def send(self, message: MessageSend, *, timeout: Optional[float] = _DEFAULT) -> Receipt:
        """Send a message that is built already; otherwise as :meth:`send_message`.

        :param message: an :class:`amiproto.MessageSend`; one without ActionID gets one.
        """
        return receipt_of(self._ask(message, timeout))

    def send_messages(
        self,
        messages: Iterable[Union[MessageSend, Mapping[str, Any]]],
        *,
        window: int = 32,
        timeout: Optional[float] = _DEFAULT,
    ) -> Iterator[SendResult]:
        """Send many messages, several at a time, and yield what became of each, in order.

        A message that is refused, here or by the server, does not stop the rest. When the
        connection breaks, or an answer takes longer than ``timeout``, the connection is closed:
        each message that was on its way is then ``"unknown"`` and each after it ``"not sent"``.
        The messages are taken from the iterable as there is room for them, never more than
        ``window`` ahead of the result that is yielded. An error of the iterable itself is raised
        after the results of the messages before it.

        :param messages: any iterable of :class:`amiproto.MessageSend`, or of mappings with the
            arguments of :meth:`send_message`.
        :param window: most messages on their way at once (int, 1 to 1024); over TLS always 1,
            as Asterisk reads no second action there while it carries out one.
        :param timeout: seconds to wait for the answer to each (float); None waits.
        :raises NotConnected: when the client is not open; no message is taken then.
        """
        if not 0 < window <= MAX_WINDOW:
            raise ValueError(f"a window of {window}; give one of 1 to {MAX_WINDOW}")
        self._own_lock()
        link = self._open_link()
        seconds = self._seconds(timeout)
        return send_messages(link, self._turn_on(link), receipt_of, messages, window, seconds)

    def send_action(self, action: Action, *, timeout: Optional[float] = _DEFAULT) -> Reply:
        """Send any action, and return the server's answer, with its events where it is a list.

        :param action: an :class:`amiproto.Action`; one without ActionID gets one.
        :param timeout: seconds for the whole call (float); None waits.
        :raises NotSent, Refused, OutcomeUnknown, LocalProtocolError: as :meth:`send_message`.
        """
        answer = self._call(action, timeout)
        return Reply(answer.response, answer.events, answer.complete)

    def command(self, text: str, *, timeout: Optional[float] = _DEFAULT) -> Tuple[str, ...]:
        """Run a command of Asterisk's CLI (``Action: Command``) and return its output.

        :param text: the command (str); the user needs the write class ``command``.
        :return: the lines (tuple of str), from the answers of old servers and new.
        :raises NotSent, Refused, OutcomeUnknown, LocalProtocolError: as :meth:`send_message`;
            the output of a refused command is in ``error.response.output``.
        """
        return self._call(Action("Command", [("Command", text)]), timeout).response.output

    def ping(self, *, timeout: Optional[float] = _DEFAULT) -> None:
        """Ask the server for a sign of life (``Action: Ping``).

        :raises NotSent, Refused, OutcomeUnknown: as :meth:`send_message`.
        """
        self._call(Action("Ping"), timeout)

    def events(self, *, timeout: Optional[float] = _DEFAULT) -> Iterator[Message]:
        """Iterate over the events that the server sends; ends when none came in ``timeout``.

        What belongs to no action of this client is given too: an :class:`amiproto.Orphan`, or a
        :class:`amiproto.Response` that answers nothing.

        :param timeout: seconds to wait for each event (float); None waits for ever. Calls of
            other threads wait as long.
        :raises EventOverflow: when more came than ``max_events`` while nobody asked: after those
            that were kept. To go on, iterate anew.
        :raises ConnectionLost: when the connection breaks; NotConnected when it is not open.
        """
        while True:
            try:
                event = self._next_event(self._seconds(timeout))
            except SendTimeout:
                return  # calls of other threads took all the time
            if event is None:
                return
            yield event

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
            self.logoff(_GOODBYE if self.timeout is None else min(self.timeout, _GOODBYE))
        except AMIError as error:
            log.debug("no goodbye from the server: %s", error)

    def __repr__(self) -> str:
        state = "connected" if self.connected else "closed"
        return f"<Client {self._username!r} at {self.host} port {self.port}, {state}>"

    def _new_session(self) -> Session:
        return Session(
            self._username,
            self._secret,
            entropy=os.urandom(16),
            mechanism=self._mechanism,
            events=self._event_mask,
        )

    def _seconds(self, timeout: Optional[float]) -> Optional[float]:
        return self.timeout if timeout is _DEFAULT else timeout

    def _own_lock(self) -> Any:
        # A lock that another thread held at a fork is never released in the child.
        pid = os.getpid()
        if self._lock_pid != pid:
            self._lock, self._lock_pid = RLock(), pid
        return self._lock

    def _take_turn(self, deadline: Deadline) -> Any:
        """Wait for a thread's turn on the connection; to release what is returned ends it."""
        lock = self._own_lock()
        if not lock.acquire(blocking=False):
            left = deadline.remaining()
            if not lock.acquire(timeout=-1 if left is None else left):
                raise SendTimeout("another thread's call took all the time; nothing was sent")
        return lock

    def _turn_on(self, link: Link) -> Callable[[], Any]:
        def take_turn() -> Any:
            if self._pid != os.getpid():
                link.close("it belongs to the process that opened it")
            return self._take_turn(Deadline(None))

        return take_turn

    def _open_link(self) -> Link:
        # Asked by the owner of a lock, which is this process's own.
        link = self._link
        if link is None:
            raise NotConnected("the client is not open; call connect(), or use it in a with block")
        if self._pid != self._lock_pid:
            raise NotConnected(
                "this connection belongs to the process that opened it; call connect() for "
                "another in this one"
            )
        if link.failure is not None:
            raise NotConnected(f"the connection has ended ({link.failure}); call connect()")
        return link

    def _ask(self, action: Action, timeout: Optional[float]) -> Answer:
        deadline = Deadline(self._seconds(timeout))
        turn = self._take_turn(deadline)
        try:
            answer = self._open_link().call(action, deadline)
        finally:
            turn.release()
        log.debug("%r: %r", action, answer)
        return answer

    def _call(self, action: Action, timeout: Optional[float]) -> Answer:
        answer = self._ask(action, timeout)
        name = answer.response.name
        if name == "Error":
            raise refusal(answer)
        if name == "Goodbye" and action.name.lower() != "logoff":
            raise no_answer(answer)
        return answer

    def _next_event(self, timeout: Optional[float]) -> Optional[Message]:
        deadline = Deadline(timeout)
        turn = self._take_turn(deadline)
        try:
            link = self._link
            if link is None or not (link.events or link.lost_events):
                link = self._open_link()
            if link.lost_events and not link.events:
                lost, link.lost_events = link.lost_events, 0
                raise EventOverflow(
                    f"{lost} events were lost, as over {self._max_events} came and nobody asked; "
                    "ask more often, or for fewer",
                    limit=self._max_events,
                    actual=lost,
                )
            return link.next_event(deadline)
        except Expired:
            return None
        except Closed as error:
            raise ConnectionLost(f"the connection broke while waiting: {error}") from error
        finally:
            turn.release()

    def _log_in(self, link: Link, deadline: Deadline) -> None:
        where = f"{self.host} port {self.port}"
        try:
            link.log_in(deadline)
        except Expired:
            raise ConnectTimeout(
                f"{where} took the connection and did not finish the login in time; check that "
                "this is the manager's port, and TLS or not"
            ) from None
        except Closed as error:
            if isinstance(error.__cause__, RemoteProtocolError):
                raise NotAManager(f"{where}: {error}") from error
            raise ServerClosed(
                f"{where}: {error} before the login was done; check permit, deny, authlimit and "
                "authtimeout in manager.conf, and TLS or not"
            ) from error
        log.debug("logged in at %s as %s, AMI %s", where, self._username, self.server_version)

    def _open_socket(self, deadline: Deadline) -> socket.socket:
        context = None if self._tls is None else tls_context(self._tls)
        if not self._from_socket:
            return open_socket(self.host, self.port, context, self._tls_hostname, deadline)
        sock, self._given = self._given, None
        if sock is None:
            raise NotConnected("this client was made of a socket, which is used up; make a new one")
        if sock.fileno() < 0:
            raise ConnectError("the socket that was given is closed", field="sock")
        tune(sock)
        return sock if context is None else start_tls(sock, context, self._tls_hostname, deadline)


def refusal(answer: Answer) -> Refused:
    """The error that the answer ``Error`` stands for."""
    response = answer.response
    return Refused(
        f"the server answered {response.name}: {response.message!r}; nothing was carried out",
        response=response,
        action_id=answer.action_id,
    )


def receipt_of(answer: Answer) -> Receipt:
    """The receipt that the answer to a MessageSend stands for.

    :raises Refused, OutcomeUnknown: for any answer but Success.
    """
    name = answer.response.name
    if name != "Success":
        raise refusal(answer) if name == "Error" else no_answer(answer)
    return Receipt(answer.action_id, answer.response)


def no_answer(answer: Answer) -> OutcomeUnknown:
    """The error that a response stands for which tells nothing of the action."""
    response = answer.response
    return OutcomeUnknown(
        f"the server answered {response.name}: {response.message!r}, which leaves open what "
        "became of the action: it may have been carried out; find out before you send it again",
        action_id=answer.action_id,
    )
