"""A non-blocking socket, plain or TLS. Waits end at a deadline, or when another thread wakes them.

Each call has one :class:`Deadline`, created when it starts. All waiting is done in
:meth:`Transport.wait`, which returns when the socket is ready, when the deadline passes or when
another thread calls :meth:`Transport.wake`. So neither a peer that does not read nor a silent one
can block the caller beyond its timeout.
"""

from __future__ import annotations

import select
import socket
from time import monotonic
from typing import Dict, Optional, Tuple

from .exceptions import ConnectError

#: Bytes to read at once. The responses to a window of messages are some kilobytes.
_READ_SIZE = 64 * 1024

#: The maximum timeout in seconds (23 days); a longer one counts as no limit. poll() cannot wait for
#: 25 days.
MAX_TIMEOUT = 2_000_000.0

#: The exceptions that mean that the socket is not ready, also with TLS. They are compared by name,
#: so that ssl is imported only if it is used.
_WOULD_BLOCK = ("BlockingIOError", "InterruptedError", "SSLWantReadError", "SSLWantWriteError")

#: The exceptions that mean the end of the stream with TLS. A peer that closes without TLS's
#: close_notify, as Asterisk does, ends the stream too.
_EOF_ERRORS = ("SSLEOFError", "SSLZeroReturnError")

#: The same from OpenSSL 3, in builds of Python that do not know it (seen on 3.11.2).
_OPENSSL_3_EOF = "UNEXPECTED_EOF_WHILE_READING"


class Expired(Exception):
    """The deadline has passed. Internal: callers turn it into a public exception."""


class Closed(Exception):
    """The connection has ended. Internal: callers turn it into a public exception."""


class CloseRequested(Closed):
    """Another thread has requested to close the connection."""


def reraise_if_from_handler(error: BaseException) -> None:
    """Raise the exception again if a signal handler raised it, such as ``TimeoutError()``.

    Errors of the system have an errno. The exception of a handler has none, and says nothing about
    the socket.
    """
    if isinstance(error, OSError) and error.errno is None:
        raise error


def is_eof(error: BaseException) -> bool:
    """Return True if an exception of the TLS layer means the end of the stream."""
    name, reason = type(error).__name__, getattr(error, "reason", None)
    return name in _EOF_ERRORS or reason == _OPENSSL_3_EOF


class Deadline:
    """The point in time by which a call has to end.

    :param timeout: seconds from now (float), or None for no limit.
    """

    __slots__ = ("_end", "_passed")

    def __init__(self, timeout: Optional[float]) -> None:
        self._end: Optional[float] = None
        if timeout is not None and not timeout >= MAX_TIMEOUT:  # NaN counts as 0
            self._end = monotonic() + timeout
        self._passed = False

    def remaining(self) -> Optional[float]:
        """Return the seconds left (float, never below 0), or None for no limit."""
        if self._end is None:
            return None
        seconds = self._end - monotonic()
        return seconds if seconds > 0.0 else 0.0

    def next_wait(self) -> Optional[float]:
        """Return :meth:`remaining` for one of several waits; after 0, the next call raises Expired.

        Data that arrives by the deadline is still read, but a peer that never stops sending cannot
        extend the call.
        """
        if self._passed:
            raise Expired
        seconds = self.remaining()
        self._passed = seconds == 0.0
        return seconds


class Waker:
    """A pair of sockets with which any thread can interrupt a wait for a connection.

    They are closed when nothing refers to the waker any more. If they were closed earlier, a thread
    about to write to one could write to another file with the same descriptor.
    """

    _pair: Tuple[socket.socket, ...] = ()  # for __del__, if __init__ fails

    def __init__(self) -> None:
        try:
            self._pair = self._inner, self._outer = socket.socketpair()
        except OSError as error:
            reraise_if_from_handler(error)
            raise ConnectError(f"cannot create a pair of sockets: {error}") from error
        self._inner.setblocking(False)
        self._outer.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor that is readable after :meth:`wake` (int)."""
        return self._inner.fileno()

    def wake(self) -> None:
        """Interrupt the current wait, or else the next one."""
        try:
            self._outer.send(b"\0")
        except OSError as error:
            reraise_if_from_handler(error)  # else the buffer is full: a wake-up is pending already

    def clear(self) -> None:
        """Remove the pending wake-ups; there must be one."""
        self._inner.recv(4096)

    def __del__(self) -> None:
        for sock in self._pair:
            sock.close()


class Transport:
    """A stream socket, from before it is connected until it is closed.

    Any thread may call :meth:`wake` and :meth:`request_close`. Only the thread that uses the
    connection may call the other methods. Methods that wait raise Expired if the time passes,
    CloseRequested after :meth:`request_close`, and Closed if the connection is broken.
    """

    def __init__(self) -> None:
        self._sock: Optional[socket.socket] = None
        self._waker: Optional[Waker] = Waker()
        self._poll: Optional[select.poll] = None
        self._polls_write = False  # whether the socket is registered for writing, too
        #: Whether the connection uses TLS.
        self.is_tls = False
        #: Whether TLS holds a record that is not completely written. It is written first.
        self.has_partial_record = False
        #: Why another thread wants the connection closed, or None.
        self.close_reason: Optional[str] = None

    @property
    def sock(self) -> socket.socket:
        """The current socket."""
        assert self._sock is not None
        return self._sock

    def attach(self, sock: socket.socket) -> None:
        """Take ownership of a socket; the previous one, if any, is closed."""
        old, self._sock = self._sock, sock
        if old is not None:
            old.close()
        sock.setblocking(False)
        if hasattr(select, "poll") and self._waker is not None:  # Windows has none
            self._poll = select.poll()
            self._poll.register(self._waker, select.POLLIN)
            self._poll.register(sock, select.POLLIN)
            self._polls_write = False
        self.is_tls = hasattr(sock, "getpeercert")

    def wake(self) -> None:
        """Interrupt the current wait of another thread, or else its next one."""
        waker = self._waker
        if waker is not None:
            waker.wake()

    def request_close(self, reason: str) -> None:
        """Ask the thread that uses the connection to close it; the reason is in its error."""
        self.close_reason = reason
        self.wake()

    def close(self) -> None:
        """Close the socket immediately; data that the system has not sent yet may be lost."""
        self._waker = None
        try:
            if self._sock is not None:
                self._sock.close()
        except OSError as error:
            reraise_if_from_handler(error)  # else such as a reset that is reported only now

    def wait(self, write: bool, seconds: Optional[float]) -> bool:
        """Wait until the socket is readable or, if ``write``, writable.

        :return: False if another thread interrupted the wait.
        """
        assert self._waker is not None and self._sock is not None
        if self.close_reason is None:
            ready = self.poll(write, seconds)
            if not ready:
                raise Expired
            if self._sock.fileno() in ready:
                return True
            self._waker.clear()
        if self.close_reason is not None:
            raise CloseRequested(self.close_reason)
        return False

    def poll(self, write: bool, seconds: Optional[float]) -> Dict[int, int]:
        """Wait; the keys of the result are the descriptors that are ready.

        With TLS, this does not see data that the TLS layer has read already.
        """
        poll = self._poll
        if poll is None:  # select() reports a refused connection as exceptional on Windows
            assert self._waker is not None
            reading = [self.sock.fileno(), self._waker.fileno()]
            writing = reading[:1] if write else []
            return dict.fromkeys(sum(select.select(reading, writing, writing, seconds), []), 0)
        if write != self._polls_write:
            poll.modify(self.sock, select.POLLIN | select.POLLOUT if write else select.POLLIN)
            self._polls_write = write
        # Rounded up: a wait that ends a fraction of a millisecond early would spin.
        milliseconds = None if seconds is None else int(seconds * 1000.0) + (seconds > 0.0)
        return dict(poll.poll(milliseconds))

    def receive(self) -> Optional[bytes]:
        """Read the available data: ``b""`` at the end of the stream, None if there is none."""
        assert self._sock is not None
        try:
            return self._sock.recv(_READ_SIZE)
        except OSError as error:
            reraise_if_from_handler(error)
            if type(error).__name__ in _WOULD_BLOCK:
                return None
            if is_eof(error):
                return b""
            raise Closed(f"reading failed: {error}") from error

    def receive_before(self, write: bool, deadline: Deadline) -> Optional[bytes]:
        """Wait for data and read it; ``b""`` at the end of the stream.

        :param write: whether to return None as soon as the socket is writable.
        :return: None also if another thread interrupted the wait.
        """
        while True:
            seconds = deadline.next_wait()
            # poll() does not see data that the TLS layer has read already.
            data = self.receive() if self.is_tls else None
            if data is not None:
                return data
            if not self.wait(write, seconds):
                return None
            data = self.receive()
            if data is not None or write:
                return data

    def send(self, data: bytes) -> int:
        """Write as much as possible without waiting; return the number of bytes (int)."""
        assert self._sock is not None
        try:
            count = self._sock.send(data)
            self.has_partial_record = False
            return count
        except OSError as error:
            data = b""  # it may hold a secret, and error reports show the variables of this frame
            reraise_if_from_handler(error)
            if type(error).__name__ in _WOULD_BLOCK:
                self.has_partial_record = self.is_tls
                return 0
            raise Closed(f"writing failed: {error}") from error
