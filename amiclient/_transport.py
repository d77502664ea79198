"""A stream socket that waits no longer than it is told: plain or TLS.

The socket never blocks; all waiting is done in one place, for reading, for writing and for another
thread's call at once, so that neither a peer that does not read nor a silent one can hold us up.

The one deadline of a call, made when it starts, so that no step starts the clock again.

A pair of sockets by which one thread wakes up another that waits for a connection.
"""

from __future__ import annotations

import select
import socket
from time import monotonic
from typing import Callable, List, Optional, Tuple, Type

Wait = Callable[[bool, Optional[float]], List[int]]

#: Bytes asked of the socket at once. Answers to a window of messages are some kilobytes.
_CHUNK = 64 * 1024

#: How Python tells of the end of a stream with TLS. A peer that closes without TLS's own goodbye,
#: as Asterisk does, ends it too.
_EOF_ERRORS = ("SSLEOFError", "SSLZeroReturnError")

#: The same of OpenSSL 3, in builds of Python that do not know it (seen on 3.11.2).
_OPENSSL_3_EOF = "UNEXPECTED_EOF_WHILE_READING"


class Closed(Exception):
    """The connection is gone; for the layers above to turn into what it means there."""


class Transport:
    """A stream socket, from before it is connected until it is closed."""

    def __init__(self) -> None:
        self._sock: Optional[socket.socket] = None
        self._waker: Optional[Waker] = Waker()
        self._wait: Optional[Wait] = None
        self._would_block: Tuple[Type[BaseException], ...] = (BlockingIOError, InterruptedError)
        #: Whether writes go through TLS.
        self.is_tls = False
        #: Whether TLS keeps a part of a record that was not written: it has to go before any other.
        self.has_partial_record = False
        #: Why another thread ended the connection, or None.
        self.close_reason: Optional[str] = None

    def attach(self, sock: socket.socket) -> None:
        """Take a socket, owned from here on, in place of any before: the same with TLS on it."""
        old, self._sock = self._sock, sock
        if old is not None:
            old.close()
        sock.setblocking(False)
        if hasattr(sock, "getpeercert"):
            import ssl

            self.is_tls = True
            self._would_block += (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        assert self._waker is not None
        self._wait = (_poll if hasattr(select, "poll") else _select)(sock, self._waker)

    @property
    def sock(self) -> socket.socket:
        """The socket as it is now."""
        assert self._sock is not None
        return self._sock

    def wake(self) -> None:
        """Make the wait of another thread end, or else the next one."""
        waker = self._waker
        if waker is not None:
            waker.wake()

    def request_close(self, why: str) -> None:
        """End the connection for whoever uses it, in another thread; closing is up to them."""
        self.close_reason = why
        self.wake()

    def close(self) -> None:
        """Close the socket at once; what was written and not sent yet is the system's affair."""
        self._waker = None
        try:
            if self._sock is not None:
                self._sock.close()
        except OSError:
            pass  # a reset that is reported only now changes nothing

    def wait(self, write: bool, seconds: Optional[float]) -> bool:
        """Wait until there is something to read, or room to write if ``write``.

        :return: False when another thread's call ended the wait.
        :raises Expired: when the time is up first.
        :raises Closed: when another thread has ended the connection.
        """
        assert self._wait is not None and self._waker is not None
        if self.close_reason is None:
            ready = self._wait(write, seconds)
            if not ready:
                raise Expired
            if ready != [self._waker.fileno()]:
                return True
            self._waker.clear()
        if self.close_reason is not None:
            raise Closed(self.close_reason)
        return False

    def readable(self) -> bool:
        """Whether :meth:`receive` would find something, an end included, without waiting."""
        if self.is_tls and self._sock.pending():  # type: ignore[union-attr]
            return True
        try:
            return self.wait(False, 0.0)
        except Expired:
            return False

    def receive(self) -> Optional[bytes]:
        """Bytes that have come, ``b""`` at the end of the stream, None when there are none yet.

        :raises Closed: when the connection is broken.
        """
        assert self._sock is not None
        try:
            return self._sock.recv(_CHUNK)
        except self._would_block:
            return None
        except OSError as error:
            if (
                type(error).__name__ in _EOF_ERRORS
                or getattr(error, "reason", None) == _OPENSSL_3_EOF
            ):
                return b""
            raise Closed(f"reading failed: {error}") from error

    def receive_before(self, write: bool, deadline: Deadline) -> Optional[bytes]:
        """Bytes as soon as there are any, ``b""`` at the end of the stream.

        :param write: whether to come back, with None, when there is room to write, too.
        :return: None, too, when another thread's call ended the wait.
        :raises Expired: when the deadline passes first.
        :raises Closed: when the connection is broken, or another thread has ended it.
        """
        while True:
            left = deadline.next_wait()
            # What TLS has read ahead cannot be waited for; what a plain socket has, can.
            data = self.receive() if self.is_tls else None
            if data is not None:
                return data
            if not self.wait(write, left):
                return None
            data = self.receive()
            if data is not None or write:
                return data

    def send(self, data: bytes) -> int:
        """Write what there is room for, and return how many bytes that was.

        :raises Closed: when the connection is broken.
        """
        assert self._sock is not None
        try:
            count = self._sock.send(data)
            self.has_partial_record = False
            return count
        except self._would_block:
            self.has_partial_record = self.is_tls
            return 0
        except OSError as error:
            data = b""  # it may hold a secret, and this frame ends up in reports of the error
            raise Closed(f"writing failed: {error}") from error


def _poll(sock: socket.socket, waker: Waker) -> Wait:
    reading = select.poll()
    both = select.poll()
    for poll, events in ((reading, select.POLLIN), (both, select.POLLIN | select.POLLOUT)):
        poll.register(sock, events)
        poll.register(waker, select.POLLIN)

    def wait(write: bool, timeout: Optional[float]) -> List[int]:
        # Rounded up: a wait that ends a fraction of a millisecond early would spin.
        milliseconds = None if timeout is None else int(timeout * 1000.0) + (timeout > 0.0)
        return [number for number, _ in (both if write else reading).poll(milliseconds)]

    return wait


def _select(sock: socket.socket, waker: Waker) -> Wait:
    def wait(write: bool, timeout: Optional[float]) -> List[int]:
        writing = [sock.fileno()] if write else []
        # A connection that is refused is told as an exception by some systems.
        found = select.select([sock.fileno(), waker.fileno()], writing, writing, timeout)
        return [number for ready in found for number in ready]

    return wait


#: Seconds from which on a timeout is as good as none: 23 days, and poll() cannot wait for 25.
ENDLESS = 2_000_000.0


class Expired(Exception):
    """The deadline has passed; for the layers above to turn into what it means there."""


class Deadline:
    """A point in time that every step of a call looks at.

    :param timeout: seconds from now (float), or None for none.
    """

    __slots__ = ("_end", "_passed")

    def __init__(self, timeout: Optional[float]) -> None:
        endless = timeout is None or timeout >= ENDLESS
        self._end = None if timeout is None or endless else monotonic() + timeout
        self._passed = False

    def postpone(self, seconds: float) -> None:
        """Add seconds (float) in which the caller did something else."""
        if self._end is not None:
            self._end += seconds

    def remaining(self) -> Optional[float]:
        """Seconds left (float, never below 0), or None for no limit."""
        if self._end is None:
            return None
        left = self._end - monotonic()
        return left if left > 0.0 else 0.0

    def next_wait(self) -> Optional[float]:
        """As :meth:`remaining`, for one wait of many; gives 0 only once.

        What has come by then is taken, but a peer that never stops to send cannot go on.

        :raises Expired: when there was no time left for the wait before this one.
        """
        if self._passed:
            raise Expired
        left = self.remaining()
        self._passed = left == 0.0
        return left


class Waker:
    """Something to wait for beside a connection, that any thread can set off.

    It closes when nobody has it any more, and not before: a thread that is about to write to it
    must not find its number given to another file.
    """

    def __init__(self) -> None:
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._outer.setblocking(False)

    def fileno(self) -> int:
        """The number of the descriptor that is readable once :meth:`wake` was called (int)."""
        return self._inner.fileno()

    def wake(self) -> None:
        """Wake up whoever waits now, or whoever waits next."""
        try:
            self._outer.send(b"\0")
        except OSError:
            pass  # full of calls that nobody has heeded yet

    def clear(self) -> None:
        """Take all calls up to now as heeded, of which there is one at the least."""
        self._inner.recv(4096)

    def __del__(self) -> None:
        self._inner.close()
        self._outer.close()
