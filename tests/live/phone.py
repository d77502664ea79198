"""The far end of a message: a SIP phone that accepts everything and keeps each MESSAGE it gets.

It knows only SIP. It keeps bytes and never decodes, since the
tests compare what arrived with what was sent, byte for byte.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import List, NamedTuple, Optional, Set, Tuple

_COMPACT_FORMS = {
    b"c": b"content-type",
    b"e": b"content-encoding",
    b"f": b"from",
    b"i": b"call-id",
    b"k": b"supported",
    b"l": b"content-length",
    b"m": b"contact",
    b"s": b"subject",
    b"t": b"to",
    b"v": b"via",
}

#: What a response has to repeat from its request (RFC 3261, 8.2.6.2).
_COPIED = (b"via", b"from", b"to", b"call-id", b"cseq")

#: The largest UDP payload, so that no datagram is ever cut.
_LARGEST_DATAGRAM = 65535

#: Asked of the kernel, so that a burst of messages waits in the socket and is not dropped.
_RECEIVE_BUFFER = 4 * 1024 * 1024


class SipMessage(NamedTuple):
    """A request as it came over the wire."""

    method: bytes
    request_uri: str
    #: Names and values in their order; of a value only the one blank after the colon is missing.
    headers: Tuple[Tuple[bytes, bytes], ...]
    #: Everything after the first empty line, whatever Content-Length says.
    body: bytes
    #: What Content-Length says; None where it is missing or no number.
    content_length: Optional[int]
    raw: bytes
    #: The address it came from, which tells the channel drivers of one server apart.
    source: Tuple[str, int]

    def headers_named(self, name: str) -> List[bytes]:
        """The values of every header of this name, long or compact, in any case."""
        wanted = _long_form(name.encode("latin-1"))
        return [value for key, value in self.headers if _long_form(key) == wanted]

    def header(self, name: str) -> Optional[bytes]:
        """The value of the first header of this name; None where there is none."""
        values = self.headers_named(name)
        return values[0] if values else None


def parse(raw: bytes, source: Tuple[str, int] = ("", 0)) -> SipMessage:
    """Take a request apart; raises ValueError where the bytes are no SIP request."""
    head, _, body = raw.partition(b"\r\n\r\n")
    request_line, *lines = head.split(b"\r\n")
    words = request_line.split(b" ")
    if len(words) < 3 or not words[-1].startswith(b"SIP/"):
        raise ValueError(f"not a SIP request: {raw[:80]!r}")
    headers: List[Tuple[bytes, bytes]] = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and headers:
            name, value = headers[-1]
            headers[-1] = (name, value + b"\r\n" + line)
            continue
        name, _, value = line.partition(b":")
        headers.append((name, value[1:] if value.startswith(b" ") else value))
    message = SipMessage(
        method=words[0],
        # Variables can put blanks into a URI, so only the outer two separate.
        request_uri=b" ".join(words[1:-1]).decode("latin-1"),
        headers=tuple(headers),
        body=body,
        content_length=None,
        raw=raw,
        source=source,
    )
    length = message.header("Content-Length") or b""
    if length.strip().isdigit():
        message = message._replace(content_length=int(length))
    return message


class SipPhone:
    """A UDP socket on loopback that answers every SIP request with 200 OK.

    Each MESSAGE is kept until a test takes it. Retransmissions (the same Call-ID and CSeq) are
    answered but not kept again. Of use in a ``with`` block, or with ``close``.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._socket.bind((host, port))
        self.host: str
        self.port: int
        self.host, self.port = self._socket.getsockname()
        self._arrived = threading.Condition()
        self._messages: List[SipMessage] = []
        self._seen: Set[Tuple[Optional[bytes], Optional[bytes]]] = set()
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="sip-phone", daemon=True)
        self._thread.start()

    def wait_for(self, count: int, timeout: float = 5.0) -> List[SipMessage]:
        """Take the next messages, in the order they came; TimeoutError if fewer come in time.

        After a TimeoutError the ones that did come are still there to be taken.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._messages) >= count, timeout):
                raise TimeoutError(
                    f"{len(self._messages)} of {count} messages came within {timeout} s"
                )
            taken, self._messages = self._messages[:count], self._messages[count:]
            return taken

    def next_message(self, timeout: float = 5.0) -> SipMessage:
        """Take the next message; TimeoutError if none comes in time."""
        return self.wait_for(1, timeout)[0]

    def drain(self) -> List[SipMessage]:
        """Take all that has come so far, without waiting."""
        with self._arrived:
            taken, self._messages = self._messages, []
            return taken

    def close(self) -> None:
        """Stop answering and give the port back."""
        if self._closing:
            return
        self._closing = True
        # A blocked recvfrom does not notice that its socket was closed, but a datagram wakes it.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            while self._thread.is_alive():
                waker.sendto(b"", (self.host, self.port))
                self._thread.join(0.2)
        self._socket.close()

    def __enter__(self) -> SipPhone:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def _serve(self) -> None:
        while not self._closing:
            try:
                raw, source = self._socket.recvfrom(_LARGEST_DATAGRAM)
            except OSError:
                # An ICMP error of an earlier answer; back off in case it is something lasting.
                time.sleep(0.01)
                continue
            try:
                message = parse(raw, source)
            except ValueError:
                continue
            # An ACK is the one request that must not be answered.
            if message.method != b"ACK":
                self._answer(message)
            if message.method == b"MESSAGE":
                self._keep(message)

    def _answer(self, request: SipMessage) -> None:
        lines = [b"SIP/2.0 200 OK"]
        for name, value in request.headers:
            long_name = _long_form(name)
            if long_name not in _COPIED:
                continue
            if long_name == b"to" and b";tag=" not in value.lower():
                value += b";tag=phone-%d" % self.port
            lines.append(name + b": " + value)
        lines += [b"Content-Length: 0", b"", b""]
        try:
            self._socket.sendto(b"\r\n".join(lines), request.source)
        except OSError:
            # The server is gone, as some tests want it to be.
            pass

    def _keep(self, message: SipMessage) -> None:
        identity = (message.header("Call-ID"), message.header("CSeq"))
        with self._arrived:
            if identity in self._seen:
                return
            self._seen.add(identity)
            self._messages.append(message)
            self._arrived.notify_all()


def _long_form(name: bytes) -> bytes:
    lower = name.lower()
    return _COMPACT_FORMS.get(lower, lower)
