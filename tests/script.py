"""A scripted server on 127.0.0.1.

A script is a list of steps; a step is a function that takes the client as a :class:`Peer`::

    with Script(log_in, accept, read, send(EVENT), reset) as script:

accepts each client's login, responds to its first action, reads a second one, sends an event and
resets the connection. The connection is closed after the last step.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from hashlib import md5
from typing import Callable, Dict, List, Optional

import pytest

from amiclient.loopback import SECRET

from .certificates import server_tls
from .faults import SMALL_BUFFER, reset_connection

BANNER = b"Asterisk Call Manager/11.0.0\r\n"
EVENT = b"Event: Newexten\r\nPrivilege: dialplan,all\r\nUniqueid: 1.2\r\nAppData: x\r\n\r\n"

#: Seconds that a script waits for the test, and a test for the script.
_MAX_WAIT = 20.0


class Peer:
    """A connected client.

    :param go: the event that the step ``hold`` waits for.
    """

    def __init__(self, sock: socket.socket, go: threading.Event) -> None:
        self.sock = sock
        self.go = go
        #: All bytes received, and the offset of the next stanza.
        self.received = b""
        self._start = 0
        #: The actions after the login, and those without a response yet.
        self.actions: List[Dict[str, str]] = []
        self.pending: List[Dict[str, str]] = []
        #: Bytes collected for a single write, or None.
        self.gathered: Optional[List[bytes]] = None

    def send(self, *parts: bytes) -> None:
        """Write all parts at once, or add them to the bytes being collected."""
        if self.gathered is None:
            self.sock.sendall(b"".join(parts))
        else:
            self.gathered += parts

    @property
    def unread(self) -> bytes:
        """The bytes received after the last stanza that was read."""
        return self.received[self._start :]

    def read(self) -> Dict[str, str]:
        """Return the headers of the next action; raise EOFError at the end."""
        while (end := self.received.find(b"\r\n\r\n", self._start)) < 0:
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError
            self.received += data
        stanza = self.received[self._start : end]
        self._start = end + 4
        lines = stanza.decode("utf-8", "surrogateescape").split("\r\n")
        return dict(line.split(": ", 1) for line in lines if ": " in line)

    def log_in(self) -> None:
        """Accept the login of the client, with either mechanism."""
        self.send(BANNER)
        action = self.read()
        if action["Action"] == "Challenge":
            self.send(response(action, "Success", "Challenge: 1234"))
            action = self.read()
            assert action["Key"] == md5(b"1234" + SECRET.encode()).hexdigest()
        assert action["Action"] == "Login"
        self.send(response(action, "Success", "Message: Authentication accepted"))

    def read_action(self) -> Dict[str, str]:
        """Return the next action and add it to the pending ones."""
        action = self.read()
        self.actions.append(action)
        self.pending.append(action)
        return action

    def next_pending(self) -> Dict[str, str]:
        """Remove and return the oldest pending action; if none is pending, read one first."""
        if not self.pending:
            self.read_action()
        return self.pending.pop(0)


def response(action: Dict[str, str], name: str, *lines: str) -> bytes:
    """Return a response to an action, with its ActionID if it has one."""
    head = [f"Response: {name}"]
    if "ActionID" in action:
        head.append(f"ActionID: {action['ActionID']}")
    return "\r\n".join([*head, *lines, "", ""]).encode("utf-8", "surrogateescape")


def accepted(action: Dict[str, str]) -> bytes:
    """Return Asterisk's response to a message that it accepts."""
    return response(action, "Success", "Message: Message successfully sent")


Step = Callable[[Peer], object]


# -- Steps that write.

#: Accept the login of the client.
log_in: Step = Peer.log_in


def send(*parts: bytes) -> Step:
    """Write bytes at once."""
    return lambda peer: peer.send(*parts)


def respond(name: str, *lines: str, with_id: bool = True) -> Step:
    """Respond to the oldest pending action; if none is pending, read one first."""

    def step(peer: Peer) -> None:
        action = peer.next_pending()
        peer.send(response(action if with_id else {}, name, *lines))

    return step


def accept(peer: Peer) -> None:
    """Respond likewise, with the success of a message."""
    peer.send(accepted(peer.next_pending()))


def in_one_write(*steps: Step) -> Step:
    """Combine the output of several steps into one write."""

    def step(peer: Peer) -> None:
        peer.gathered = []
        for one in steps:
            one(peer)
        parts, peer.gathered = peer.gathered, None
        peer.send(*parts)

    return step


# -- Steps that read.

#: Read an action, for a later step to respond to.
read: Step = Peer.read_action

#: Never respond to the oldest pending action; if none is pending, read one first.
leave_pending: Step = Peer.next_pending


def expect(name: str) -> Step:
    """Read an action and check its name."""

    def step(peer: Peer) -> None:
        action = peer.read_action()
        assert action["Action"] == name, action

    return step


def read_until_eof(peer: Peer) -> None:
    """Discard all input until the client disconnects."""
    while peer.sock.recv(1 << 16):
        pass


def expect_silence(seconds: float) -> Step:
    """Check that the client sends nothing for a number of seconds."""

    def step(peer: Peer) -> None:
        assert peer.unread == b""
        peer.sock.settimeout(seconds)
        with pytest.raises(socket.timeout):
            peer.sock.recv(1)
        peer.sock.settimeout(None)

    return step


def expect_eof(peer: Peer) -> None:
    """Check that the client disconnects without sending anything more."""
    with pytest.raises(EOFError):
        peer.read()
    assert peer.unread == b""


# -- Repetition and waiting.


def repeat(count: int, *steps: Step) -> Step:
    """Repeat steps a number of times."""

    def step(peer: Peer) -> None:
        for _ in range(count):
            for one in steps:
                one(peer)

    return step


def repeat_forever(*steps: Step) -> Step:
    """Repeat steps until the client disconnects."""
    once = repeat(1, *steps)

    def step(peer: Peer) -> None:
        while True:
            once(peer)

    return step


#: Respond with success to every action, until the client disconnects.
accept_all = repeat_forever(accept)


def pause(seconds: float) -> Step:
    """Wait for a number of seconds."""
    return lambda peer: time.sleep(seconds)


def hold(peer: Peer) -> None:
    """Wait until the test calls :meth:`Script.release` or ends."""
    assert peer.go.wait(_MAX_WAIT), "release() was not called"


# -- The end of a connection.


def reset(peer: Peer) -> None:
    """Reset the connection."""
    reset_connection(peer.sock)


def close(peer: Peer) -> None:
    """Close the connection before further steps."""
    peer.sock.close()


class Script:
    """A server that takes the same steps with every client, each in its own thread.

    An assertion that fails in a step fails the test. A client that disconnects early does not.

    :param tls: whether to use TLS, with the test certificate.
    :param small_buffers: whether its sockets buffer only a few kilobytes of unread input.
    """

    def __init__(self, *steps: Step, tls: bool = False, small_buffers: bool = False) -> None:
        self._steps = steps
        self._tls = server_tls() if tls else None
        self._listener = socket.create_server(("127.0.0.1", 0))
        if small_buffers:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        self.port: int = self._listener.getsockname()[1]
        #: The clients that have connected so far.
        self.peers: List[Peer] = []
        self._go = threading.Event()
        self._errors: List[BaseException] = []
        self._threads: List[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def actions(self) -> List[Dict[str, str]]:
        """The actions of all clients that steps have read after the login."""
        return [action for peer in self.peers for action in peer.actions]

    def release(self) -> None:
        """End the step ``hold`` for all clients, now and later."""
        self._go.set()

    def add_client(self, sock: socket.socket) -> None:
        """Take the steps with a client on a connected socket."""
        peer = Peer(sock, self._go)
        self.peers.append(peer)
        self._threads.append(threading.Thread(target=self._talk, args=(peer,), daemon=True))
        self._threads[-1].start()

    def wait_for_actions(self, count: int) -> None:
        """Wait until steps have read a number of actions after the login."""
        deadline = time.monotonic() + _MAX_WAIT
        while len(self.actions) < count:
            assert time.monotonic() < deadline, f"{len(self.actions)} of {count} actions"
            time.sleep(0.001)

    def wait_for_end(self) -> None:
        """Wait until all connections have ended."""
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Script:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        _shut(self._listener)
        self._accepting.join()
        self._listener.close()
        self.release()
        for peer in self.peers:
            _shut(peer.sock)
        self.wait_for_end()
        if self._errors and kind is None:
            raise self._errors[0]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.add_client(sock)

    def _talk(self, peer: Peer) -> None:
        try:
            if self._tls is not None:
                peer.sock.getpeername()  # wrap_socket leaks a dead socket before Python 3.12
                peer.sock = self._tls.wrap_socket(peer.sock, server_side=True)
            for step in self._steps:
                step(peer)
        except (OSError, EOFError):
            pass
        except BaseException as error:
            self._errors.append(error)
        finally:
            peer.sock.close()


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
