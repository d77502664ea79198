"""An AMI server on 127.0.0.1 for trying things out and for tests, driven by the same codec.

To Challenge, Login, Logoff, Ping and MessageSend it answers byte for byte as Asterisk 22 does.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from hashlib import md5
from threading import Lock, Thread

from amiproto import (
    NEED_DATA,
    Action,
    Banner,
    Connection,
    EndOfStream,
    Event,
    Malformed,
    Message,
    MessageSend,
    RemoteProtocolError,
    Response,
    Role,
    parse_message_send,
)
from amiproto.text import to_bytes, value_as_read

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Callable, Deque, Iterable, List, Mapping, Optional, Set, Union

    Handler = Callable[[Action], Iterable[Message]]

#: The user of a server that is given none. Its secret is no secret.
USERNAME = "loopback"
SECRET = "loopback"

#: The AMI version of Asterisk 22.
_VERSION = "11.0.0"

#: Values of a login's Events header that mean none; any other is taken for all.
_NO_EVENTS = frozenset((b"off", b"no", b"n", b"false", b"f", b"0"))

#: How Asterisk 22 answers an action it does not know, and the bytes of its buffer for that.
_UNKNOWN = b"Invalid/unknown command: %s. Use Action: ListCommands to show available commands."
_MAX_UNKNOWN = 511


class LoopbackServer:
    """A server for one ``with`` block, on a port of its own, that keeps what it is sent.

    ::

        with LoopbackServer() as server:
            with Client(server.host, server.port, username=USERNAME, secret=SECRET) as client:
                client.send_message(to="pjsip:alice", body="hello")
            assert server.messages[0].text == "hello"

    The same raw bytes, odd ones included, give the same answers and messages as on Asterisk 16 and
    22, where a test compares them, except for this:

    - it knows no phones: every address of a known technology is taken, where Asterisk answers
      ``Message failed to send.`` if the address makes no sense to the technology;
    - variables stay in the order of the action, where Asterisk's SIP headers have one of their own;
    - every user may send messages, and log in more than once at a time;
    - of other actions it knows none but those in ``handlers``;
    - there are no events but those of :meth:`send_event`, not even FullyBooted, and no classes of
      them: a session has all or, by ``Events: off`` in its login, none;
    - a refused login is answered at once, not after a second; there is no limit of time or number
      for connections that do not log in, and a client that does not read is waited for.

    :param users: secrets (str) by user name; one user ``loopback`` with secret ``loopback``.
    :param technologies: the technologies that MessageSend knows, as case-sensitive as Asterisk's.
    :param version: the version of AMI in the banner (str).
    :param tls: an :class:`ssl.SSLContext` with a certificate, for TLS.
    :param keep: most messages that are kept, the newest; None keeps all.
    :param handlers: functions by the name of an action (in any case): each is given the action
        and returns the messages that answer it. They go before what the server knows itself,
        except for Challenge, Login and Logoff.
    """

    def __init__(
        self,
        *,
        users: Optional[Mapping[str, str]] = None,
        technologies: Iterable[str] = ("sip", "pjsip", "xmpp"),
        version: str = _VERSION,
        tls: Optional[ssl.SSLContext] = None,
        keep: Optional[int] = None,
        handlers: Optional[Mapping[str, Handler]] = None,
    ) -> None:
        self.users = dict(users) if users is not None else {USERNAME: SECRET}
        self.technologies = frozenset(technologies)
        self._version = version
        self._tls = tls
        self._handlers = {name.lower(): handler for name, handler in (handlers or {}).items()}
        self._messages: Deque[MessageSend] = deque(maxlen=keep)
        self._lock = Lock()
        self._peers: Set[_Peer] = set()
        self._threads: List[Thread] = []
        self._listener: Optional[socket.socket] = None
        self._closing = False
        #: Where the server listens: always 127.0.0.1.
        self.host = "127.0.0.1"
        #: Its port (int); 0 while it is not open.
        self.port = 0

    @property
    def messages(self) -> List[MessageSend]:
        """The messages that were sent so far, oldest first, as the server understood them."""
        with self._lock:
            return list(self._messages)

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
        self._closing = False
        self._listener = socket.create_server((self.host, 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def close(self) -> None:
        """Close every connection and stop to listen; the ``with`` statement does this."""
        with self._lock:
            self._closing = True
            peers = list(self._peers)
        if self._listener is not None:
            _shut(self._listener)
            self._listener = None
        for peer in peers:
            peer.close()
        while self._threads:  # the first accepts, and may be about to start another
            self._threads.pop(0).join()
        self.port = 0

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
            peer = _Peer(sock)
            with self._lock:
                self._peers.add(peer)
                closing = self._closing
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

    def _talk(self, peer: _Peer) -> None:
        peer.write([Banner(self._version)])
        while True:
            data = peer.sock.recv(64 * 1024)
            if not data:
                return
            peer.connection.receive_data(data)
            answers: List[Message] = []
            while True:
                message = peer.connection.next_event()
                if message is NEED_DATA or isinstance(message, EndOfStream):
                    break
                answers += self._answer(peer, message)
                if peer.ended:
                    peer.write(answers)
                    return
            peer.write(answers)

    def _answer(self, peer: _Peer, message: Union[Message, object]) -> Iterable[Message]:
        if isinstance(message, Malformed):
            return [_response(message, b"Error", to_bytes(message.reason))]
        assert isinstance(message, Action)
        name = message.name.lower()
        if name == "logoff":
            peer.ended = True
            return [_response(message, b"Goodbye", b"Thanks for all the fish.")]
        if name == "challenge":
            return [self._challenge(peer, message)]
        if name == "login":
            return [self._login(peer, message)]
        if not peer.logged_in:
            return [_response(message, b"Error", b"Permission denied")]
        if name in self._handlers:
            return self._handlers[name](message)
        if name == "ping":
            lines = b"Ping: Pong\r\nTimestamp: %.6f\r\n" % time.time()
            return [_response(message, b"Success", lines=lines)]
        if name == "messagesend":
            return [self._message_send(message)]
        text = _UNKNOWN % to_bytes(message.name)
        return [_response(message, b"Error", text[:_MAX_UNKNOWN])]

    def _challenge(self, peer: _Peer, action: Action) -> Response:
        if _read(action, b"AuthType").lower() != b"md5":
            return _response(action, b"Error", b"Must specify AuthType")
        if not peer.challenge:  # one for the whole session
            peer.challenge = b"%d" % int.from_bytes(os.urandom(4), "big")
        return _response(action, b"Success", lines=b"Challenge: %s\r\n" % peer.challenge)

    def _login(self, peer: _Peer, action: Action) -> Response:
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
        message = parse_message_send(action)
        target = message.to if message.destination is None else message.destination
        if not target:
            return _response(action, b"Error", b"No 'To' address specified.")
        if target.partition(":")[0] not in self.technologies:
            return _response(action, b"Error", b"Message technology not found.")
        with self._lock:
            self._messages.append(message)
        return _response(action, b"Success", b"Message successfully sent")


class _Peer:
    """One client's connection, as the server sees it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.connection = Connection(Role.SERVER)
        self.challenge = b""
        self.logged_in = False
        self.wants_events = False
        self.ended = False
        self._writing = Lock()

    def write(self, messages: Iterable[Message]) -> None:
        """Write messages; those of several threads do not mix."""
        with self._writing:
            data = b"".join([self.connection.send(message) for message in messages])
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
    return value_as_read(action.wire, name)


def _response(action: Message, name: bytes, message: bytes = b"", lines: bytes = b"") -> Response:
    # From bytes: the server echoes the ActionID as it is, a bare CR in it, too.
    action_id = _read(action, b"ActionID")
    wire = b"Response: %s\r\n" % name
    if action_id:
        wire += b"ActionID: %s\r\n" % action_id
    if message:
        wire += b"Message: %s\r\n" % message
    return Response.from_wire(wire + lines + b"\r\n")
