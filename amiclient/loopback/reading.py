"""How the server reads: plain as it comes, and over TLS in the pieces in which Asterisk does.

Apart from the server, as a client's writes over TLS can hang on nothing but these pieces.
"""

from __future__ import annotations

from selectors import EVENT_READ, DefaultSelector

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import ssl
    from typing import Optional

    from .versions import Version

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
