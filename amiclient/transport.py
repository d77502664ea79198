"""A connected socket that waits no longer than it is told: plain or TLS, apart from any AMI.

The socket never blocks; all waiting is done in one place, for reading and writing at once, so that
a peer that does not read cannot keep us from reading.
"""

from __future__ import annotations

import select
import socket

from .deadline import Expired

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional, Tuple, Type, Union

    from .deadline import Deadline

#: Bytes asked of the socket at once. Answers to a window of messages are some kilobytes.
_CHUNK = 64 * 1024


class Closed(Exception):
    """The connection is gone; for the layers above to turn into what it means there."""


class Transport:
    """A connected stream socket, owned from here on.

    :param sock: the socket (:class:`socket.socket` or :class:`ssl.SSLSocket`).
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)
        #: Whether writes go through TLS.
        self.is_tls = hasattr(sock, "getpeercert")
        #: Whether TLS keeps a part of a record that was not written: it has to go before any other.
        self.has_half_record = False
        self._again: Tuple[Type[BaseException], ...] = (BlockingIOError, InterruptedError)
        if self.is_tls:
            import ssl

            self._again += (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._wait = _poll(sock) if hasattr(select, "poll") else _select(sock)

    def readable(self) -> bool:
        """Whether :meth:`receive` would find something, an end included, without waiting."""
        if self.is_tls and self._sock.pending():  # type: ignore[attr-defined]
            return True
        return self._wait(False, 0.0)

    def receive(self) -> Optional[bytes]:
        """Bytes that have come, ``b""`` at the end of the stream, None when there are none yet.

        :raises Closed: when the connection is broken.
        """
        try:
            return self._sock.recv(_CHUNK)
        except self._again:
            return None
        except OSError as error:
            # A peer that closes without TLS's own goodbye, as Asterisk does, ends the stream too.
            if type(error).__name__ in ("SSLEOFError", "SSLZeroReturnError"):
                return b""
            raise Closed(str(error)) from error

    def receive_before(self, write: bool, deadline: Deadline) -> Optional[bytes]:
        """Bytes as soon as there are any, ``b""`` at the end of the stream.

        :param write: whether to come back, with None, when there is room to write, too.
        :raises Expired: when the deadline passes first.
        :raises Closed: when the connection is broken.
        """
        while True:
            left = deadline.next_wait()
            # What TLS has read ahead cannot be waited for; what a plain socket has, can.
            data = self.receive() if self.is_tls else None
            if data is not None:
                return data
            if not self._wait(write, left):
                raise Expired
            data = self.receive()
            if data is not None or write:
                return data

    def send(self, data: Union[bytes, memoryview]) -> int:
        """Write what there is room for, and return how many bytes that was.

        :raises Closed: when the connection is broken.
        """
        try:
            count = self._sock.send(data)
            self.has_half_record = False
            return count
        except self._again:
            self.has_half_record = self.is_tls
            return 0
        except OSError as error:
            raise Closed(str(error)) from error

    def end(self) -> None:
        """End the connection for whoever waits for it, in another thread; closing is up to them."""
        try:
            # Not as SSLSocket does it: what another thread is about to write would go out plain.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already

    def close(self) -> None:
        """Close the socket at once; what was written and not sent yet is the system's affair."""
        try:
            self._sock.close()
        except OSError:
            pass  # a reset that is reported only now changes nothing


def _poll(sock: socket.socket) -> Callable[[bool, Optional[float]], bool]:
    reading = select.poll()
    reading.register(sock, select.POLLIN)
    both = select.poll()
    both.register(sock, select.POLLIN | select.POLLOUT)

    def wait(write: bool, timeout: Optional[float]) -> bool:
        # Rounded up: a wait that ends a fraction of a millisecond early would spin.
        milliseconds = None if timeout is None else int(timeout * 1000.0) + (timeout > 0.0)
        return bool((both if write else reading).poll(milliseconds))

    return wait


def _select(sock: socket.socket) -> Callable[[bool, Optional[float]], bool]:
    def wait(write: bool, timeout: Optional[float]) -> bool:
        return any(select.select([sock], [sock] if write else [], [], timeout))

    return wait
