"""A SIP phone that accepts every request and keeps each MESSAGE, as bytes."""

from __future__ import annotations

import re
import socket
import socketserver
import threading
import time
from typing import Callable, List, NamedTuple, Optional, Set, Tuple

_COMPACT_FORMS = {
    b"c": b"content-type", b"e": b"content-encoding", b"f": b"from", b"i": b"call-id",
    b"k": b"supported", b"l": b"content-length", b"m": b"contact", b"s": b"subject", b"t": b"to",
    b"v": b"via",
}  # fmt: skip

#: The headers that a response repeats from its request (RFC 3261, 8.2.6.2).
_COPIED = (b"via", b"from", b"to", b"call-id", b"cseq")

#: The largest UDP payload, so that no datagram is truncated.
_LARGEST_DATAGRAM = 65535

#: The size of the socket buffer, so that a burst of messages is not dropped.
_RECEIVE_BUFFER = 4 * 1024 * 1024


class SipMessage(NamedTuple):
    """A request as received."""

    method: bytes
    request_uri: str
    #: Names and values in order, without the space after the colon.
    headers: Tuple[Tuple[bytes, bytes], ...]
    #: Everything after the first empty line, regardless of Content-Length.
    body: bytes
    #: The value of Content-Length; None if it is missing or invalid.
    content_length: Optional[int]
    raw: bytes
    #: The sender's address, which distinguishes the SIP drivers of one server.
    source: Tuple[str, int]

    def headers_named(self, name: str) -> List[bytes]:
        """Return the values of all headers of this name, long or compact, in any case."""
        wanted = _long_form(name.encode("latin-1"))
        return [value for key, value in self.headers if _long_form(key) == wanted]

    def header(self, name: str) -> Optional[bytes]:
        """Return the value of the first header of this name, or None."""
        values = self.headers_named(name)
        return values[0] if values else None


def parse(raw: bytes, source: Tuple[str, int] = ("", 0)) -> SipMessage:
    """Parse a request; raise ValueError if it is not SIP."""
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
        # Variables can put spaces into a URI, so only the first and the last space separate.
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
    """A phone on a UDP and TCP port of loopback that answers every SIP request with 200 OK.

    A context manager.

    Each MESSAGE is kept until a test pops it. Retransmissions (same Call-ID and CSeq) are answered
    but not kept again.
    """

    def __init__(self) -> None:
        self._tcp = _TCPServer(self)
        self.host = "127.0.0.1"
        self.port: int = self._tcp.server_address[1]
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._socket.bind((self.host, self.port))
        self._arrived = threading.Condition()
        self._messages: List[SipMessage] = []
        self._seen: Set[Tuple[Optional[bytes], Optional[bytes]]] = set()
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="sip-phone", daemon=True)
        self._thread.start()
        self._tcp_thread = threading.Thread(target=self._tcp.serve_forever, daemon=True)
        self._tcp_thread.start()

    def wait_for(self, count: int, timeout: float = 5.0) -> List[SipMessage]:
        """Pop the next messages in order; raise TimeoutError, and pop none, if there are fewer."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._messages) >= count, timeout):
                raise TimeoutError(f"{len(self._messages)} of {count} messages in {timeout} s")
            popped, self._messages = self._messages[:count], self._messages[count:]
            return popped

    def next_message(self, timeout: float = 5.0) -> SipMessage:
        """Pop the next message; raise TimeoutError if it does not arrive in time."""
        return self.wait_for(1, timeout)[0]

    def drain(self) -> List[SipMessage]:
        """Pop all messages that have arrived, without waiting."""
        with self._arrived:
            popped, self._messages = self._messages, []
            return popped

    def close(self) -> None:
        """Stop answering, and close the socket."""
        if self._closing:
            return
        self._closing = True
        # Closing a socket does not wake a blocked recvfrom, but a datagram does.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            while self._thread.is_alive():
                waker.sendto(b"", (self.host, self.port))
                self._thread.join(0.2)
        self._socket.close()
        self._tcp.shutdown()
        self._tcp_thread.join()
        self._tcp.server_close()

    def __enter__(self) -> SipPhone:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def _serve(self) -> None:
        while not self._closing:
            try:
                raw, source = self._socket.recvfrom(_LARGEST_DATAGRAM)
            except OSError:
                # An ICMP error of an earlier response; wait in case it persists.
                time.sleep(0.01)
                continue
            self.receive(raw, source, lambda data: self._socket.sendto(data, source))

    def receive(self, raw: bytes, source: Tuple[str, int], send: Callable[[bytes], object]) -> None:
        """Answer a request from any transport, and keep a MESSAGE."""
        try:
            message = parse(raw, source)
        except ValueError:
            return
        # An ACK is the only request without a response.
        if message.method != b"ACK":
            self._respond(message, send)
        if message.method == b"MESSAGE":
            self._keep(message)

    def _respond(self, request: SipMessage, send: Callable[[bytes], object]) -> None:
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
            send(b"\r\n".join(lines))
        except OSError:
            pass  # some tests stop the server

    def _keep(self, message: SipMessage) -> None:
        identity = (message.header("Call-ID"), message.header("CSeq"))
        with self._arrived:
            if identity in self._seen:
                return
            self._seen.add(identity)
            self._messages.append(message)
            self._arrived.notify_all()


class _TCPServer(socketserver.ThreadingTCPServer):
    """The TCP port of a phone."""

    allow_reuse_address = daemon_threads = True
    block_on_close = False

    def __init__(self, phone: SipPhone) -> None:
        self.phone = phone
        super().__init__(("127.0.0.1", 0), _TCPHandler)


class _TCPHandler(socketserver.StreamRequestHandler):
    """Reads requests, whose Content-Length says where each ends."""

    def handle(self) -> None:
        assert isinstance(self.server, _TCPServer)
        lines: List[bytes] = []
        for line in self.rfile:
            lines.append(line)
            if line != b"\r\n":
                continue
            head, lines = b"".join(lines), []
            if head == b"\r\n":
                continue  # a keep-alive
            length = re.search(rb"(?im)^Content-Length *: *([0-9]+)", head)
            raw = head + self.rfile.read(int(length.group(1)) if length else 0)
            self.server.phone.receive(raw, self.client_address, self.request.sendall)


def _long_form(name: bytes) -> bytes:
    lower = name.lower()
    return _COMPACT_FORMS.get(lower, lower)
