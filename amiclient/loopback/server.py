"""The server: connections, logins, and an answer to each action as Asterisk gives it.

How the server reads: plain as it comes, and over TLS in the pieces in which Asterisk does.

Apart from the server, as a client's writes over TLS can hang on nothing but these pieces.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections import deque
from dataclasses import replace
from hashlib import md5
from selectors import EVENT_READ, DefaultSelector
from threading import Event as Flag
from threading import Lock, Thread
from typing import Any, Callable, Deque, Dict, Iterable, List, Mapping, Optional, Set, Tuple, Union
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
    parse_message_send,
)
from amiproto._text import get_header, to_bytes
from amiproto.messaging.variables import effective_variables

from .script import Delay, Disconnect, EventList, Output, Received, Step
from .versions import NEWEST, VERSIONS, Version

#: The user of a server that is given none. Its secret is no secret.
USERNAME = "loopback"
SECRET = "loopback"

#: Values of a login's Events header that mean none; any other is taken for all.
_NO_EVENTS = frozenset((b"off", b"no", b"n", b"false", b"f", b"0"))

#: Actions that are about the session itself, and not for scripts.
_SESSION = frozenset(("challenge", "login", "logoff"))

#: How Asterisk answers an action it does not know, and the bytes of its buffer for that (16.28 and
#: 22.10; 11 by its source).
_UNKNOWN = b"Invalid/unknown command: %s. Use Action: ListCommands to show available commands."
_MAX_UNKNOWN = 511


class LoopbackServer:
    """A server for one ``with`` block, on a port of its own, that keeps what it is sent.

    ::

        with LoopbackServer() as server:
            with Client(server.host, server.port, username=USERNAME, secret=SECRET) as client:
                client.send_message(to="pjsip:alice", body="hello")
            assert server.messages == [Received("pjsip:alice", "hello")]

    The same raw bytes, odd ones included, give the same answers and messages as on Asterisk 16 and
    22, where a test compares them, and on 11, as far as it was seen, except for this:

    - it knows no phones: every address of a known technology is taken, where Asterisk answers
      ``Message failed to send.`` if the address makes no sense to the technology;
    - variables stay in the order of the action, where Asterisk's SIP headers have one of their own;
    - every user may send messages, and log in more than once at a time;
    - of other actions it knows none but those that are scripted, or in ``handlers``;
    - there are no events but those of :meth:`send_event`, not even FullyBooted, and no classes of
      them: a session has all or, by ``Events: off`` in its login, none;
    - a refused login is answered at once, not after a second; there is no limit of time or number
      for connections that do not log in, and a client that does not read is waited for, as is one
      that sends a record of TLS in parts.

    :param users: secrets (str) by user name; one user ``loopback`` with secret ``loopback``.
    :param technologies: the technologies that MessageSend knows, as case-sensitive as Asterisk's.
    :param version: the Asterisk that it behaves as, by the first number of its version (int): 11,
        16 or 22. :class:`amiclient.loopback.versions.Version` tells what differs.
    :param tls: an :class:`ssl.SSLContext` with a certificate, for TLS.
    :param keep: most messages that are kept, and most actions, the newest (int); None keeps all.
    :param handlers: functions by the name of an action (in any case): each is given the action
        and returns the messages that answer it, an :class:`Output` or an
        :class:`EventList`, None for "as usual", a :class:`Delay` or a :class:`Disconnect`. They go before what the server knows
        itself, except for Challenge, Login and Logoff.
    :param port: the port to listen on (int); 0 for one that is free. Opened again, a server takes
        the one that it had.
    :param watch: a function that is given each action as it comes, but Challenge and Login.
    :raises ValueError: for a version that it does not know.
    """

    def __init__(
        self,
        *,
        users: Optional[Mapping[str, str]] = None,
        technologies: Iterable[str] = ("sip", "pjsip", "xmpp"),
        version: int = NEWEST,
        tls: Optional[ssl.SSLContext] = None,
        keep: Optional[int] = None,
        handlers: Optional[Mapping[str, Step]] = None,
        port: int = 0,
        watch: Optional[Callable[[Action], None]] = None,
    ) -> None:
        self.users = dict(users) if users is not None else {USERNAME: SECRET}
        self.technologies = frozenset(technologies)
        if version not in VERSIONS:
            known = ", ".join(str(number) for number in sorted(VERSIONS))
            raise ValueError(f"version is {version!r}, and the server behaves as one of {known}")
        self._version = VERSIONS[version]
        self._tls = tls
        self._keep = keep
        self._handlers = {name.lower(): handler for name, handler in (handlers or {}).items()}
        self._script: Dict[str, Deque[Step]] = {}
        self._watch = watch
        self._lock = Lock()
        self._peers: Set[_ClientConnection] = set()
        self._threads: List[Thread] = []
        self._listener: Optional[socket.socket] = None
        self._closing = Flag()
        #: The messages that it took, oldest first (list of :class:`Received`); may be cleared.
        self.messages: List[Received] = []
        #: The actions that came, but Challenge and Login, oldest first; may be cleared.
        self.actions: List[Action] = []
        #: Where the server listens: always 127.0.0.1.
        self.host = "127.0.0.1"
        #: Its port (int); 0 as long as it was never open and none was asked for.
        self.port = port

    @property
    def url(self) -> str:
        """Its address for settings, such as AMI_URL (str), with its first user."""
        user, secret = next(iter(self.users.items()))
        scheme = "ami" if self._tls is None else "amis"
        login = f"{quote(user, safe='')}:{quote(secret, safe='')}"
        return f"{scheme}://{login}@{self.host}:{self.port}"

    def script(self, *steps: Step, action: str = "MessageSend") -> None:
        """Say what becomes of the next actions of a name: a step for each, then as usual.

        :param steps: functions as in ``handlers``, or what those return beside messages.
        :param action: the action's name, in any case (str).
        """
        self._script.setdefault(action.lower(), deque()).extend(steps)

    def send_event(self, event: Event) -> None:
        """Send an event (:class:`amiproto.Event`) to every session that wants events."""
        with self._lock:
            peers = list(self._peers)
        for peer in peers:
            if peer.wants_events:
                try:
                    peer.write([event])
                except OSError:
                    pass  # this client is gone; the others are not

    def open(self) -> None:
        """Start to listen; the ``with`` statement does this."""
        self._closing.clear()
        self._listener = socket.create_server((self.host, self.port))
        self.port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def close(self) -> None:
        """Close every connection and stop to listen; the ``with`` statement does this."""
        with self._lock:
            self._closing.set()
            peers = list(self._peers)
        if self._listener is not None:
            _shut(self._listener)
            self._listener = None
        for peer in peers:
            peer.close()
        while self._threads:  # the first accepts, and may be about to start another
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
            tls: Optional[ssl.SSLSocket] = None
            if self._tls is not None:
                sock.getpeername()  # wrap_socket leaks one that is gone (Python before 3.12)
                sock = tls = self._tls.wrap_socket(
                    sock, server_side=True, do_handshake_on_connect=False
                )
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader = PlainReader(sock) if tls is None else TLSReader(tls, self._version)
            peer = _ClientConnection(sock, reader)
            with self._lock:
                self._peers.add(peer)
                closing = self._closing.is_set()
            try:
                if not closing:
                    if tls is not None:
                        tls.do_handshake()  # only now, when close() can end it
                    self._talk(peer)
            finally:
                with self._lock:
                    self._peers.discard(peer)
        except (OSError, RemoteProtocolError):
            pass  # the client is gone, or is none
        finally:
            sock.close()

    def _talk(self, peer: _ClientConnection) -> None:
        peer.write([Banner(self._version.ami)])
        while True:
            data = peer.reader.read()
            if not data:
                return
            peer.connection.receive_data(data)
            while True:
                message = peer.connection.next_event()
                if message is NEED_DATA or isinstance(message, EndOfStream):
                    break
                # Each answer is written by itself, as Asterisk does.
                answers, cut = self._handle(peer, message)
                if peer.reader.is_behind():
                    return
                peer.write(answers, cut)
                if peer.ended or cut is not None:
                    return

    def _handle(
        self, peer: _ClientConnection, message: Union[Message, object]
    ) -> Tuple[Iterable[Message], Optional[int]]:
        """The answers, and the number of their bytes to close after, or None."""
        if isinstance(message, InvalidAction):
            return [_response(message, b"Error", to_bytes(message.reason))], None
        assert isinstance(message, Action)
        name = message.name.lower()
        if name not in ("challenge", "login"):
            self._note(message)
        if name in _SESSION or not peer.logged_in:
            return self._answer(peer, message), None
        step = self._step(name)
        treatment = step(message) if callable(step) else step
        if isinstance(treatment, Delay):
            self._closing.wait(treatment.seconds)
        elif isinstance(treatment, (Output, EventList)):
            return treatment.answer(message, self._version), None
        elif not isinstance(treatment, Disconnect) and treatment is not None:
            return treatment, None
        answers = self._answer(peer, message)
        return answers, treatment.after if isinstance(treatment, Disconnect) else None

    def _step(self, name: str) -> Optional[Step]:
        script = self._script.get(name)
        return script.popleft() if script else self._handlers.get(name)

    def _note(self, action: Action) -> None:
        with self._lock:
            self.actions.append(action)
            self._forget(self.actions)
        if self._watch is not None:
            self._watch(action)

    def _forget(self, kept: List[Any]) -> None:
        if self._keep is not None:
            del kept[: max(0, len(kept) - self._keep)]

    def _answer(self, peer: _ClientConnection, action: Action) -> Iterable[Message]:
        name = action.name.lower()
        if name == "logoff":
            peer.ended = True
            return [_response(action, b"Goodbye", b"Thanks for all the fish.")]
        if name == "challenge":
            return [self._challenge(peer, action)]
        if name == "login":
            return [self._login(peer, action)]
        if not peer.logged_in:
            return [_response(action, b"Error", b"Permission denied")]
        if name == "ping":
            lines = b"Ping: Pong\r\nTimestamp: %.6f\r\n" % time.time()
            return [_response(action, b"Success", lines=lines)]
        if name == "messagesend":
            return [self._message_send(action)]
        text = _UNKNOWN % to_bytes(action.name)
        return [_response(action, b"Error", text[:_MAX_UNKNOWN])]

    def _challenge(self, peer: _ClientConnection, action: Action) -> Response:
        if _read(action, b"AuthType").lower() != b"md5":
            return _response(action, b"Error", b"Must specify AuthType")
        if not peer.challenge:  # one for the whole session
            peer.challenge = b"%d" % int.from_bytes(os.urandom(4), "big")
        return _response(action, b"Success", lines=b"Challenge: %s\r\n" % peer.challenge)

    def _login(self, peer: _ClientConnection, action: Action) -> Response:
        if peer.logged_in:
            return _response(action, b"Success", b"Already authenticated")
        secret = self._secret_of(_read(action, b"Username"))
        if secret is not None and _read(action, b"AuthType").lower() == b"md5":
            proof = md5(peer.challenge + secret).hexdigest().encode()
            good = bool(peer.challenge) and _read(action, b"Key") == proof
        else:
            good = secret is not None and _read(action, b"Secret") == secret
        if not good:
            peer.ended = True
            return _response(action, b"Error", b"Authentication failed")
        peer.logged_in = True
        peer.wants_events = _read(action, b"Events").lower() not in _NO_EVENTS
        return _response(action, b"Success", b"Authentication accepted")

    def _secret_of(self, user: bytes) -> Optional[bytes]:
        for name, secret in self.users.items():
            if to_bytes(name).lower() == user.lower():
                return to_bytes(secret)
        return None

    def _message_send(self, action: Action) -> Response:
        message = Received.of(parse_message_send(action))
        if not self._version.has_destination:
            message = replace(message, destination=None)
        if self._version.first_variable_counts:
            variables = effective_variables(action.wire, first_counts=True)
            message = replace(message, variables=variables)
        target = message.to if message.destination is None else message.destination
        if not target:
            return _response(action, b"Error", b"No 'To' address specified.")
        if not self._supports_technology(target.partition(":")[0]):
            return _response(action, b"Error", b"Message technology not found.")
        with self._lock:
            self.messages.append(message)
            self._forget(self.messages)
        return _response(action, b"Success", b"Message successfully sent")

    def _supports_technology(self, technology: str) -> bool:
        if self._version.technology_in_any_case:
            return technology.lower() in {name.lower() for name in self.technologies}
        return technology in self.technologies


class _ClientConnection:
    """One client's connection, as the server sees it."""

    def __init__(self, sock: socket.socket, reader: Union[PlainReader, TLSReader]) -> None:
        self.sock = sock
        self.reader = reader
        self.connection = Connection(Role.SERVER)
        self.challenge = b""
        self.logged_in = False
        self.wants_events = False
        self.ended = False
        self._writing = Lock()

    def write(self, messages: Iterable[Message], most: Optional[int] = None) -> None:
        """Write messages, or the first bytes of them; those of several threads do not mix."""
        with self._writing:
            data = b"".join([self.connection.send(message) for message in messages])[:most]
            if data:
                self.sock.sendall(data)

    def close(self) -> None:
        """End the connection; whoever waits for it wakes up."""
        _shut(self.sock)


def _shut(sock: socket.socket) -> None:
    # Unlike close, this wakes up a thread that waits for the socket.
    try:
        # Not as SSLSocket does it: what another thread is about to write would go out plain.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        pass  # closed by the other side already


def _read(action: Message, name: bytes) -> bytes:
    return get_header(action.wire, name)


def _response(action: Message, name: bytes, message: bytes = b"", lines: bytes = b"") -> Response:
    # From bytes: the server echoes the ActionID as it is, a bare CR in it, too.
    action_id = _read(action, b"ActionID")
    wire = b"Response: %s\r\n" % name
    if action_id:
        wire += b"ActionID: %s\r\n" % action_id
    if message:
        wire += b"Message: %s\r\n" % message
    return Response.from_wire(wire + lines + b"\r\n")


#: Bytes asked of a plain socket at once. How they are cut makes no difference to anybody.
_CHUNK = 64 * 1024

#: Seconds that a read across records waits for the next one. Asterisk waits for none, so that
#: chance decides how many of the records that a client writes in a row one read takes; here it
#: takes all that fit, and the same writes hang each time.
_TOGETHER = 0.02


class PlainReader:
    """Reads a plain socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def read(self) -> bytes:
        """The next bytes; none at the end of the stream."""
        return self._sock.recv(_CHUNK)

    def is_behind(self) -> bool:
        """Whether an answer now ends the connection."""
        return False


class TLSReader:
    """Reads as Asterisk does over TLS: it waits for the socket, whatever the TLS layer holds.

    A record that comes in parts is waited for, where Asterisk closes.
    """

    def __init__(self, sock: ssl.SSLSocket, version: Version) -> None:
        self._sock = sock
        self._size = version.tls_read
        self._across = version.reads_across_records
        self._is_full = False

    def read(self) -> bytes:
        """The next bytes; none at the end of the stream."""
        self._wait(None)
        data = piece = self._sock.recv(self._size)
        while piece and self._across and len(data) < self._size and self._wait(_TOGETHER):
            piece = self._sock.recv(self._size - len(data))
            data += piece
        self._is_full = len(data) == self._size
        return data

    def is_behind(self) -> bool:
        """Whether an answer now ends the connection, as not all was read that had come."""
        if not (self._across and self._is_full):
            return False
        return self._sock.pending() > 0 or self._wait(0.0)

    def _wait(self, seconds: Optional[float]) -> bool:
        with DefaultSelector() as selector:
            selector.register(self._sock, EVENT_READ)
            return bool(selector.select(seconds))
