"""The loopback server: connections, logins, and the response of Asterisk to each action.

Over TLS it reads blocks of the same size as Asterisk does, so that a client whose TLS records would
hang a real server hangs here, too.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections import deque
from selectors import EVENT_READ, DefaultSelector
from threading import Event as Flag
from threading import Lock, Thread
from typing import Any, Callable, Deque, Dict, Iterable, List, Mapping, Optional, Set, Tuple
from urllib.parse import quote

from amiproto import (
    NEED_DATA,
    Action,
    Banner,
    Connection,
    EndOfStream,
    Event,
    InvalidAction,
    Message,
    RemoteProtocolError,
    Response,
    Role,
    ServerLogin,
    parse_message_send,
)
from amiproto._text import get_header, to_bytes
from amiproto.limits import MAX_SIP_VARIABLES
from amiproto.messaging.technology import TECHNOLOGIES
from amiproto.messaging.variables import effective_variables

from .core import CoreActions, user_event
from .events import is_admitted, parse_mask
from .script import Delay, Disconnect, EventList, Output, Received, Step, response
from .versions import DEFAULT_VERSION, VERSIONS, Version

#: The user of a server without ``users``, and the secret.
USERNAME = "loopback"
SECRET = "loopback"

#: The ends of the responses after which Asterisk closes the connection (11.25, 16.28, 22.10).
_LAST_LINES = (
    b"\r\nMessage: Thanks for all the fish.\r\n\r\n",
    b"\r\nMessage: Authentication failed\r\n\r\n",
    b"\r\nMessage: Login Already In Use\r\n\r\n",
)

#: The size of Asterisk's buffer for the ActionID line of a response to Events (16.28, 22.10; 11 by
#: its source). The rest of a longer line, with its CR LF, is lost.
_MAX_EVENTS_ID = 255

#: The most variables that chan_sip sends. It keeps 53 whole; the next two take the places of
#: Content-Length and Content-Type (11.25, 16.28).
_SENT_SIP_VARIABLES = MAX_SIP_VARIABLES + 2

#: The most bytes of one read from a plain socket. How the bytes are cut makes no difference.
_PLAIN_READ = 64 * 1024

#: Bytes of one read over TLS at most. Then Asterisk polls the socket and not the TLS layer, so that
#: the rest of a record is read only when more data arrives (11.25, 16.28, 22.10: a record of 1024
#: bytes gets its response, one of 1025 bytes does not).
TLS_READ = 1024

#: Seconds that a read across TLS records waits for the next record. Asterisk does not wait, so
#: that the timing decides how many records one read takes. Here it takes as many as fit, so that
#: the same writes hang every time.
_NEXT_RECORD = 0.02


class LoopbackServer:
    """A fake Asterisk manager that accepts messages and keeps them; see :mod:`amiclient.loopback`.

    ::

        with LoopbackServer() as server:
            with Client(server.host, server.port, username=USERNAME, secret=SECRET) as client:
                client.send_message(to="pjsip:alice", body="hello")
            assert server.messages == [Received("pjsip:alice", "hello")]

    For the same bytes, even invalid ones, it sends the same responses and accepts the same
    messages as Asterisk 16 and 22 (compared by a test) and as 11 (as far as observed, and by its
    source), with these exceptions:

    - It has no phones. Every address of a known technology is accepted, except ``unreachable``
      ones; Asterisk responds ``Message failed to send.`` to an address that the technology cannot
      use.
    - Variables keep the order of the action. The SIP headers of Asterisk have an order of their
      own.
    - Every user can use every action, receives every event, and can log in several times at once.
    - The known actions are Challenge, Command, CoreSettings, CoreShowChannels, CoreStatus, Events,
      Getvar, ListCommands, Login, Logoff, MessageSend, Ping, Setvar and UserEvent; as 11 also
      DataGet, without data. Others are unknown unless they are scripted or in ``handlers``.
    - Getvar and Setvar know the global variables that were set. There are no channels and no
      functions, the settings are those of an empty configuration, and the uptime is always 0.
    - The CLI commands are ``core show calls``, ``core show channels count``, ``core show uptime``,
      ``core show uptime seconds`` and ``core show version``. The error for others suggests the help
      of their first two words; Asterisk may take more.
    - The only events are FullyBooted, those of UserEvent, and those of :meth:`send_event`.
    - A failed login gets its response at once, not after a second. The number of connections and
      the time for the login are not limited. The server waits for a client that does not read, and
      for the rest of a TLS record.

    :param users: secrets (str) by user name. Default: user ``loopback`` with secret ``loopback``.
    :param technologies: the technologies that MessageSend knows (str). Default: those registered
        in :mod:`amiproto.messaging`, without those that the version does not have: 22 has no
        ``sip``, 11 no ``pjsip``.
    :param unreachable: the addresses (str), such as ``pjsip:bob``, to which messages fail, as if
        there were no such endpoint or peer. With ``pjsip:bob`` also ``pjsip:bob/...``.
    :param version: the major version of Asterisk to imitate (int): 11, 16 or 22.
        :class:`amiclient.loopback.versions.Version` describes the differences.
    :param tls: an :class:`ssl.SSLContext` with a certificate, for TLS.
    :param keep: how many of the newest messages and actions to keep (int). None keeps all.
    :param handlers: a step for every action of a name, in any case; the steps are described in
        :mod:`amiclient.loopback`. Handlers precede the built-in responses.
    :param host: the IP address to listen on (str): ``127.0.0.1`` or ``::1``.
    :param port: the port to listen on (int); 0 for an unused one. A server that is opened again
        uses the same port.
    :param watch: a function that is called with each action except Challenge and Login.
    :raises ValueError: for an unknown version.
    """

    def __init__(
        self,
        *,
        users: Optional[Mapping[str, str]] = None,
        technologies: Optional[Iterable[str]] = None,
        unreachable: Iterable[str] = (),
        version: int = DEFAULT_VERSION,
        tls: Optional[ssl.SSLContext] = None,
        keep: Optional[int] = None,
        handlers: Optional[Mapping[str, Step]] = None,
        host: str = "127.0.0.1",
        port: int = 0,
        watch: Optional[Callable[[Action], None]] = None,
    ) -> None:
        self.users = dict(users) if users is not None else {USERNAME: SECRET}
        if version not in VERSIONS:
            known = ", ".join(str(number) for number in sorted(VERSIONS))
            raise ValueError(f"unsupported version {version!r}; expected one of {known}")
        self._version = VERSIONS[version]
        if technologies is None:
            technologies = set(TECHNOLOGIES) - self._version.missing_technologies
        self.technologies = frozenset(technologies)
        self._core = CoreActions(self._version)
        self._tls = tls
        self._keep = keep
        self._handlers = {name.lower(): handler for name, handler in (handlers or {}).items()}
        self._script: Dict[str, Deque[Step]] = {}
        self._watch = watch
        self._lock = Lock()
        self._connections: Set[_ClientConnection] = set()
        self._threads: List[Thread] = []
        self._listener: Optional[socket.socket] = None
        self._closing = Flag()
        #: The addresses that messages fail to reach (set of str). May be changed.
        self.unreachable = set(unreachable)
        #: The accepted messages, oldest first (list of :class:`Received`). May be cleared.
        self.messages: List[Received] = []
        #: The received actions except Challenge and Login, oldest first. May be cleared.
        self.actions: List[Action] = []
        #: The IP address that the server listens on (str).
        self.host = host
        #: The port (int); 0 until the server is opened, unless one was given.
        self.port = port

    @property
    def url(self) -> str:
        """The URL of the server, with its first user, for settings such as ``AMI_URL`` (str)."""
        user, secret = next(iter(self.users.items()))
        scheme = "ami" if self._tls is None else "amis"
        login = f"{quote(user, safe='')}:{quote(secret, safe='')}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{login}@{host}:{self.port}"

    def script(self, *steps: Step, action: str = "MessageSend") -> None:
        """Queue a step for each of the next actions of a name.

        :param steps: the steps, as described in :mod:`amiclient.loopback`.
        :param action: the name of the actions, in any case (str).
        """
        self._script.setdefault(action.lower(), deque()).extend(steps)

    def send_event(self, event: Event) -> None:
        """Send an event to the sessions whose event mask admits it.

        :param event: the event (:class:`amiproto.Event`). Its ``Privilege`` header names its
            classes, as in ``("Privilege", "call,all")``. Without the header, it is sent to every
            session that has turned any events on.
        """
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            if is_admitted(event, connection.event_mask):
                try:
                    connection.write([event])
                except OSError:
                    pass  # This client has disconnected.

    def open(self) -> None:
        """Start the server, as the ``with`` statement does."""
        self._closing.clear()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, self.port), family=family)
        self.port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def close(self) -> None:
        """Close every connection and stop listening, as the ``with`` statement does."""
        with self._lock:
            self._closing.set()
            connections = list(self._connections)
        if self._listener is not None:
            _shut_down(self._listener)
            self._listener = None
        for connection in connections:
            connection.close()
        # The first thread is the one that accepts connections; it may start another until it ends.
        while self._threads:
            self._threads.pop(0).join()

    def __enter__(self) -> LoopbackServer:
        self.open()
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def _start(self, target: Callable[[socket.socket], None], sock: socket.socket) -> None:
        thread = Thread(target=target, args=(sock,), daemon=True)
        self._threads = [old for old in self._threads if old.is_alive()] + [thread]
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return  # closed
                self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self._tls is not None:
                # Before Python 3.12, wrap_socket leaks a socket whose peer has disconnected.
                sock.getpeername()
                # The first write makes the handshake, when close() can already end the connection.
                sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _ClientConnection(sock, self._version, self.users)
            with self._lock:
                self._connections.add(connection)
                closing = self._closing.is_set()
            try:
                if not closing:
                    self._converse(connection)
            finally:
                with self._lock:
                    self._connections.discard(connection)
        except (OSError, RemoteProtocolError):
            pass  # The client has disconnected, or does not speak AMI.
        finally:
            sock.close()

    def _converse(self, connection: _ClientConnection) -> None:
        connection.write([Banner(self._version.ami)])
        while True:
            data = connection.reader.read()
            if not data:
                return
            connection.codec.receive_data(data)
            while True:
                message = connection.codec.next_event()
                if message is NEED_DATA or isinstance(message, EndOfStream):
                    break
                # Asterisk writes each response separately.
                responses, limit = self._handle(connection, message)
                if connection.reader.must_disconnect():
                    limit = 0
                ends = connection.write(responses, limit)
                event, connection.caused_event = connection.caused_event, None
                if event is not None:
                    self.send_event(event)
                if ends:
                    return

    def _handle(
        self, connection: _ClientConnection, message: object
    ) -> Tuple[Iterable[Message], Optional[int]]:
        """Return the responses, and the number of bytes after which to disconnect (or None)."""
        if isinstance(message, InvalidAction):
            return [response(message, b"Error", to_bytes(message.reason))], None
        assert isinstance(message, Action)
        name = message.name.lower()
        if name not in ("challenge", "login"):
            self._record(message)
            denied = connection.login.receive_action(message)
            if denied is not None:
                return [denied], None
        step = self._next_step(name)
        result = step(message) if callable(step) else step
        if isinstance(result, (Output, EventList)):
            return result.responses(message, self._version), None
        if isinstance(result, Disconnect):
            return self._respond(connection, message), result.after
        if isinstance(result, Delay):
            self._closing.wait(result.seconds)
        elif result is not None:
            return result, None
        return self._respond(connection, message), None

    def _next_step(self, name: str) -> Optional[Step]:
        script = self._script.get(name)
        return script.popleft() if script else self._handlers.get(name)

    def _record(self, action: Action) -> None:
        with self._lock:
            self.actions.append(action)
            self._drop_oldest(self.actions)
        if self._watch is not None:
            self._watch(action)

    def _drop_oldest(self, kept: List[Any]) -> None:
        if self._keep is not None:
            del kept[: max(0, len(kept) - self._keep)]

    def _respond(self, connection: _ClientConnection, action: Action) -> Iterable[Message]:
        """Return the usual response to an action."""
        name = action.name.lower()
        if name == "logoff":
            return [response(action, b"Goodbye", b"Thanks for all the fish.")]
        if name in ("challenge", "login"):
            return self._log_in(connection, action)
        if name == "events":
            return self._set_event_mask(connection, action)
        if name == "messagesend":
            return [self._message_send(action)]
        if name == "userevent":
            connection.caused_event = user_event(action, self._version)
            return [response(action, b"Success", b"Event Sent")]
        return self._core.respond(action)

    # The next two are generators, which run under the lock for writing: no event precedes the
    # response.

    def _log_in(self, connection: _ClientConnection, action: Action) -> Iterable[Message]:
        login = connection.login
        was_logged_in = login.username is not None
        reply = login.receive_action(action)
        assert reply is not None  # as always to Challenge and Login
        yield reply
        if not was_logged_in and login.username is not None:
            connection.event_mask = parse_mask(to_bytes(login.events))
            if is_admitted(self._version.fully_booted, connection.event_mask):
                yield self._version.fully_booted

    def _set_event_mask(self, connection: _ClientConnection, action: Action) -> Iterable[Message]:
        mask = parse_mask(get_header(action.wire, b"EventMask"))
        if mask < 0:
            yield response(action, b"Error", b"Invalid event mask")
            return
        connection.event_mask = mask
        lines = b"Events: %s\r\n" % (b"On" if mask else b"Off")
        yield response(action, b"Success", lines=lines, max_id_line=_MAX_EVENTS_ID)

    def _message_send(self, action: Action) -> Response:
        fields = parse_message_send(action).fields
        if not self._version.has_destination:
            fields = fields._replace(destination=None)
        if self._version.first_variable_wins:
            variables = effective_variables(action.wire, first_wins=True)
            fields = fields._replace(variables=variables)
        if fields.technology == "sip":
            fields = fields._replace(variables=fields.variables[:_SENT_SIP_VARIABLES])
        message = Received(*fields, action_id=action.action_id, wire=action.wire)
        if not message.target:
            return response(action, b"Error", b"No 'To' address specified.")
        if not self._has_technology(message.target.partition(":")[0]):
            return response(action, b"Error", b"Message technology not found.")
        if not self.unreachable.isdisjoint((message.target, message.target.partition("/")[0])):
            return response(action, b"Error", b"Message failed to send.")
        with self._lock:
            self.messages.append(message)
            self._drop_oldest(self.messages)
        return response(action, b"Success", b"Message successfully sent")

    def _has_technology(self, name: str) -> bool:
        if self._version.ignores_case:
            return name.lower() in {known.lower() for known in self.technologies}
        return name in self.technologies


class _ClientConnection:
    """The state of one client's connection."""

    def __init__(self, sock: socket.socket, version: Version, users: Mapping[str, str]) -> None:
        self.sock = sock
        self.reader = _Reader(sock, version)
        self.codec = Connection(Role.SERVER)
        # The challenge stays the same for the whole session.
        self.login = ServerLogin(users, challenge=str(int.from_bytes(os.urandom(4), "big")))
        self.event_mask = 0
        #: The event to send after the response to the current action.
        self.caused_event: Optional[Event] = None
        self._write_lock = Lock()

    def write(self, messages: Iterable[Message], limit: Optional[int] = None) -> bool:
        """Write messages, or at most ``limit`` bytes of them. May be called from any thread.

        :return: True if the server must now close the connection.
        """
        with self._write_lock:
            data = b"".join([self.codec.send(message) for message in messages])
            if data[:limit]:
                self.sock.sendall(data[:limit])
            if limit is None and not data.endswith(_LAST_LINES):
                return False
            self.event_mask = 0  # No event follows the last response.
            return True

    def close(self) -> None:
        """Shut down the connection, which ends the thread that reads from it."""
        _shut_down(self.sock)


class _Reader:
    """Reads from a socket, and over TLS as Asterisk does: it polls the socket, not the TLS layer.

    It waits for the rest of a TLS record, where Asterisk closes the connection.
    """

    def __init__(self, sock: socket.socket, version: Version) -> None:
        self._sock = sock
        self._reads_across_records = version.reads_across_records
        self._is_full = False

    def read(self) -> bytes:
        """Return the next bytes, or none at the end of the stream."""
        if not isinstance(self._sock, ssl.SSLSocket):
            return self._sock.recv(_PLAIN_READ)
        self._wait(None)
        data = chunk = self._sock.recv(TLS_READ)
        while (
            chunk
            and self._reads_across_records
            and len(data) < TLS_READ
            and self._wait(_NEXT_RECORD)
        ):
            chunk = self._sock.recv(TLS_READ - len(data))
            data += chunk
        self._is_full = len(data) == TLS_READ
        return data

    def must_disconnect(self) -> bool:
        """Return True if this version closes the connection instead of sending a response.

        Asterisk 11 does so over TLS if it has not read all received data.
        """
        return (
            isinstance(self._sock, ssl.SSLSocket)
            and self._reads_across_records
            and self._is_full
            and (self._sock.pending() > 0 or self._wait(0.0))
        )

    def _wait(self, seconds: Optional[float]) -> bool:
        with DefaultSelector() as selector:
            selector.register(self._sock, EVENT_READ)
            return bool(selector.select(seconds))


def _shut_down(sock: socket.socket) -> None:
    """Shut down a socket; unlike ``close()``, this wakes up a thread that waits for it."""
    try:
        # SSLSocket.shutdown() would drop TLS, and another thread could then write in plain text.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        pass  # The client has disconnected.
