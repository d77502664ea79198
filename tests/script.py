"""A server on 127.0.0.1 whose conversation a test writes as a list of steps.

A step is a function of :class:`Peer`, the client as the server sees it. Those below are the words
that the tests are written in::

    with Script(log_in, accept, read, send(EVENT), reset) as script:

lets each client in, answers its first action, reads a second one, and then sends an event and
resets the connection. A connection ends with its last step.
"""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType
from typing import Callable, Dict, List, Optional, Type

import pytest

from .faults import SMALL_BUFFER, reset_connection, server_tls
from .peer import Peer, accepted, response

Step = Callable[[Peer], object]

EVENT = b"Event: Newexten\r\nPrivilege: dialplan,all\r\nUniqueid: 1.2\r\nAppData: x\r\n\r\n"

#: Seconds that a conversation is held for a test that does not let it go on.
_LOCK_WAIT = 20.0


# -- What the server says.


def log_in(peer: Peer) -> None:
    """Let any client in, by whatever mechanism."""
    peer.log_in()


def send(*parts: bytes) -> Step:
    """Bytes as they are, in one write."""
    return lambda peer: peer.send(*parts)


def respond(name: str, *lines: str, with_id: bool = True) -> Step:
    """Answer the oldest action that is not answered yet; if there is none, read one first."""

    def step(peer: Peer) -> None:
        action = peer.next_pending()
        peer.send(response(action if with_id else {}, name, *lines))

    return step


def accept(peer: Peer) -> None:
    """Answer, in the same way, as Asterisk does to a message that it takes."""
    peer.send(accepted(peer.next_pending()))


def in_one_write(*steps: Step) -> Step:
    """Steps of which all that they write goes in one write."""

    def step(peer: Peer) -> None:
        peer.gathered = []
        for one in steps:
            one(peer)
        parts, peer.gathered = peer.gathered, None
        peer.send(*parts)

    return step


# -- What the server reads.


def read(peer: Peer) -> None:
    """Read an action, for a later step to answer, if any does."""
    peer.read_action()


def expect(name: str) -> Step:
    """Read an action, which must be of this name."""

    def step(peer: Peer) -> None:
        action = peer.read_action()
        assert action["Action"] == name, action

    return step


def leave_pending(peer: Peer) -> None:
    """Never answer the oldest action that is not answered yet."""
    peer.next_pending()


def read_until_eof(peer: Peer) -> None:
    """Read, and answer nothing, until the client leaves."""
    while peer.sock.recv(1 << 16):
        pass


def expect_silence(seconds: float) -> Step:
    """Check that the client sends nothing for so long."""

    def step(peer: Peer) -> None:
        assert peer.unread == b""
        peer.sock.settimeout(seconds)
        with pytest.raises(socket.timeout):
            peer.sock.recv(1)
        peer.sock.settimeout(None)

    return step


def expect_eof(peer: Peer) -> None:
    """Check that the client sends no action any more, and nothing of one."""
    with pytest.raises(EOFError):
        peer.read()
    assert peer.unread == b""


# -- When, and how often.


def repeat(count: int, *steps: Step) -> Step:
    """The same steps so many times."""

    def step(peer: Peer) -> None:
        for _ in range(count):
            for one in steps:
                one(peer)

    return step


def repeat_forever(*steps: Step) -> Step:
    """The same steps until the client leaves."""
    once = repeat(1, *steps)

    def step(peer: Peer) -> None:
        while True:
            once(peer)

    return step


#: Accept every action, until the client leaves.
accept_all = repeat_forever(accept)


def pause(seconds: float) -> Step:
    """Do nothing for so long."""
    return lambda peer: time.sleep(seconds)


def hold(peer: Peer) -> None:
    """Do nothing until the test calls :meth:`Script.go_on`, or is over."""
    assert peer.go.wait(_LOCK_WAIT), "nobody let the conversation go on"


def for_later_clients(*steps: Step) -> Step:
    """Steps for each client but the first that comes."""
    return lambda peer: repeat(1 if peer.number else 0, *steps)(peer)


# -- How it ends.


def reset(peer: Peer) -> None:
    """End the connection by a reset."""
    reset_connection(peer.sock)


def close(peer: Peer) -> None:
    """End the connection, where there is more to do after that."""
    peer.sock.close()


class Script:
    """A server that takes the same steps with each client, each in a thread of its own.

    An assertion that fails in a step fails the test; that the client leaves is no failure.

    :param tls: whether it speaks TLS, with the certificate of the tests.
    :param host: where it listens.
    :param narrow: whether its sockets hold only some kilobytes that were not read.
    """

    def __init__(
        self,
        *steps: Step,
        tls: bool = False,
        host: str = "127.0.0.1",
        small_buffers: bool = False,
    ) -> None:
        self._steps = steps
        self._tls = server_tls() if tls else None
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        if small_buffers:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        self.port: int = self._listener.getsockname()[1]
        #: The clients that came so far.
        self.peers: List[Peer] = []
        self._go = threading.Event()
        self._errors: List[BaseException] = []
        self._threads: List[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def actions(self) -> List[Dict[str, str]]:
        """The actions that steps have read after the login, of all clients."""
        return [action for peer in self.peers for action in peer.actions]

    def release(self) -> None:
        """Let conversations go on that are held, and hold none any more."""
        self._go.set()

    def add_client(self, sock: socket.socket) -> None:
        """Take the steps with a client over a socket that is connected already."""
        peer = Peer(sock, self._go, len(self.peers))
        self.peers.append(peer)
        self._threads.append(threading.Thread(target=self._talk, args=(peer,), daemon=True))
        self._threads[-1].start()

    def wait_for_actions(self, count: int) -> None:
        """Wait until steps have read so many actions after the login."""
        deadline = time.monotonic() + _LOCK_WAIT
        while len(self.actions) < count:
            assert time.monotonic() < deadline, f"{len(self.actions)} actions came, not {count}"
            time.sleep(0.001)

    def wait_for_end(self) -> None:
        """Wait until every conversation up to now has ended."""
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Script:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
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
                peer.sock.getpeername()  # wrap_socket leaks one that is gone (Python before 3.12)
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
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        pass
