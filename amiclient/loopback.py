"""An AMI server on 127.0.0.1 for trying things out and for tests, driven by the same codec.

It answers as Asterisk 22 does, to what it knows: Challenge, Login, Logoff, Ping and MessageSend.
"""

from __future__ import annotations

import os
import socket
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
from amiproto.lines import action_lines, value_as_read
from amiproto.text import to_bytes, to_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from types import TracebackType
    from typing import Callable, Deque, Iterable, List, Mapping, Optional, Set, Tuple, Type, Union

    from amiproto.headers import Pair

    Handler = Callable[[Action], Iterable[Message]]

#: The user of a server that is given none. Its secret is no secret.
USERNAME = "loopback"
SECRET = "loopback"

#: The AMI version of Asterisk 22.
_VERSION = "11.0.0"


class LoopbackServer:
    """A server for one ``with`` block, on a port of its own, that keeps what it is sent.

    ::

        with LoopbackServer() as server:
            with Client(server.host, server.port, username=USERNAME, secret=SECRET) as client:
                client.send_message(to="pjsip:alice", body="hello")
            assert server.messages[0].text == "hello"

    :param users: secrets (str) by user name; one user ``loopback`` with secret ``loopback``.
    :param technologies: the technologies that MessageSend knows, as case-sensitive as Asterisk's.
    :param version: the version of AMI in the banner (str).
    :param tls: an :class:`ssl.SSLContext` with a certificate, for TLS.
    :param keep: most messages that are kept, the newest; None keeps all.
    :param handlers: functions by the name of an action (in any case): each is given the action
        and returns the messages that answer it. They go before what the server knows itself.
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
                peer.write([event])

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
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self.port = 0

    def __enter__(self) -> LoopbackServer:
        self.open()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
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
                sock = self._tls.wrap_socket(sock, server_side=True)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = _Peer(sock)
            with self._lock:
                self._peers.add(peer)
                closing = self._closing
            try:
                if not closing:
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
            return [_response(message, "Error", message.reason)]
        assert isinstance(message, Action)
        name = message.name.lower()
        if name == "logoff":
            peer.ended = True
            return [_response(message, "Goodbye", "Thanks for all the fish.")]
        if name == "challenge":
            return [self._challenge(peer, message)]
        if name == "login":
            return [self._login(peer, message)]
        if not peer.logged_in:
            return [_response(message, "Error", "Permission denied")]
        if name in self._handlers:
            return self._handlers[name](message)
        if name == "ping":
            return [_response(message, "Success", "", [("Ping", "Pong")])]
        if name == "messagesend":
            return [self._message_send(message)]
        return [_response(message, "Error", f"Invalid/unknown command: {message.name}.")]

    def _challenge(self, peer: _Peer, action: Action) -> Response:
        if _read(action, "AuthType").lower() != "md5":
            return _response(action, "Error", "Must specify AuthType")
        peer.challenge = str(int.from_bytes(os.urandom(4), "big"))
        return _response(action, "Success", "", [("Challenge", peer.challenge)])

    def _login(self, peer: _Peer, action: Action) -> Response:
        secret = self.users.get(_read(action, "Username"))
        if secret is not None and _read(action, "AuthType").lower() == "md5":
            proof = to_bytes(peer.challenge + secret)
            good = bool(peer.challenge) and md5(proof).hexdigest() == _read(action, "Key")
        else:
            good = secret is not None and secret == _read(action, "Secret")
        if not good:
            peer.ended = True
            return _response(action, "Error", "Authentication failed")
        peer.logged_in = True
        peer.wants_events = _read(action, "Events").lower() not in ("off", "no", "false", "0")
        return _response(action, "Success", "Authentication accepted")

    def _message_send(self, action: Action) -> Response:
        message = parse_message_send(action)
        target = message.to if message.destination is None else message.destination
        if not target:
            return _response(action, "Error", "No 'To' address specified.")
        if target.partition(":")[0] not in self.technologies:
            return _response(action, "Error", "Message technology not found.")
        with self._lock:
            self._messages.append(message)
        return _response(action, "Success", "Message successfully sent")


class _Peer:
    """One client's connection, as the server sees it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.connection = Connection(Role.SERVER)
        self.challenge = ""
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
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # closed by the other side already


def _read(action: Message, name: str) -> str:
    return to_text(value_as_read(action_lines(action.wire), name.encode()))


def _response(
    action: Message, name: str, message: str, headers: Iterable[Pair] = ()
) -> Response:
    # The server echoes the ActionID as it read it, and writes its text last.
    pairs: List[Tuple[str, str]] = list(headers)
    if message:
        pairs.append(("Message", message))
    return Response(name, pairs, action_id=_read(action, "ActionID") or None)
