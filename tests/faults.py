"""Real sockets that do what a network may do at its worst, and clients to try it on.

:class:`Proxy` stands between a client and a server and harms what goes through it. No thread and
no socket of it outlives its ``with`` block.
"""

from __future__ import annotations

import select
import signal
import socket
import ssl
import struct
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Callable, Dict, Iterator, Optional, Tuple

import pytest

from amiclient import AMIError, Client
from amiclient.loopback import SECRET, USERNAME

CERTS = Path(__file__).resolve().parent / "certs"
SERVER_PEM = str(CERTS / "server.pem")
OTHER_PEM = str(CERTS / "other.pem")

#: Bytes of a socket's buffer that is full soon.
SMALL_BUFFER = 4096


def server_tls() -> ssl.SSLContext:
    """A server's context with the certificate of the tests."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SERVER_PEM, str(CERTS / "server.key"))
    return context


def client_of(port: int, timeout: Optional[float] = 10.0, **options: object) -> Client:
    """A client, not connected yet, of the loopback server or of what stands in its place."""
    options = {"host": "127.0.0.1", "username": USERNAME, "secret": SECRET, **options}
    return Client(port=port, timeout=timeout, **options)  # type: ignore[arg-type]


def client_over(sock: socket.socket, **options: object) -> Client:
    """The same over a socket that is connected already."""
    return Client(sock=sock, username=USERNAME, secret=SECRET, **options)  # type: ignore[arg-type]


@contextmanager
def opened(client: Client) -> Iterator[Client]:
    """Connect a client, and close it in the end: without a goodbye, as not all servers answer."""
    client.connect()
    try:
        yield client
    finally:
        client.close()


class Direction:
    """What a proxy does to the bytes of one direction; may be changed while it runs.

    :param cut: bytes after which it cuts the connection, both directions at once.
    :param stall: bytes after which it lets nothing through any more.
    :param size: most bytes that it writes at once.
    :param pause: seconds that it waits before each write.
    :param rewrite: a function that every chunk goes through.
    """

    def __init__(
        self,
        *,
        cut: Optional[int] = None,
        stall: Optional[int] = None,
        size: int = 1 << 20,
        pause: float = 0.0,
        rewrite: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self.cut = cut
        self.stall = stall
        self.size = size
        self.pause = pause
        self.rewrite = rewrite
        #: What was let through so far.
        self.passed = bytearray()

    @property
    def is_cut(self) -> bool:
        """Whether what may go through has gone through."""
        return self.cut is not None and len(self.passed) >= self.cut

    @property
    def is_stalled(self) -> bool:
        """Whether nothing goes through now."""
        return self.stall is not None and len(self.passed) >= self.stall

    def room(self) -> int:
        """Bytes that may go through now."""
        limits = [end - len(self.passed) for end in (self.cut, self.stall) if end is not None]
        return max(0, min([self.size, *limits]))


class Proxy:
    """Relays each connection to a port of 127.0.0.1, one thread for all of them.

    :param port: where it relays to.
    :param up: what happens to the bytes from the client; by default nothing.
    :param down: what happens to the bytes from the server.
    :param reset: whether connections are cut by a reset, not by an end of the stream.
    :param host: where it listens.
    """

    def __init__(
        self,
        port: int,
        *,
        up: Optional[Direction] = None,
        down: Optional[Direction] = None,
        reset: bool = False,
        host: str = "127.0.0.1",
    ) -> None:
        self.up = up or Direction()
        self.down = down or Direction()
        self._target = port
        self._reset = reset
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=64)
        self.port: int = self._listener.getsockname()[1]
        # What each socket's bytes go to, by which way; and what was read and not let through yet.
        self._routes: Dict[socket.socket, Tuple[socket.socket, Direction]] = {}
        self._held: Dict[socket.socket, bytes] = {}
        self._wake, self._waker = socket.socketpair()
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Cut every connection now; later ones live."""
        self._waker.send(b"c")

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *reason: object) -> None:
        self._closing = True
        self._waker.send(b"x")
        self._thread.join()
        self._wake.close()
        self._waker.close()

    def _run(self) -> None:
        while not self._closing:
            held = self.up.is_stalled or self.down.is_stalled
            sources = [self._wake, self._listener]
            for source, (_, way) in self._routes.items():
                if not way.is_stalled and source not in self._held:
                    sources.append(source)
            ready = select.select(sources, [], [], 0.005 if held or self._held else None)[0]
            for source in list(self._held):
                self._pass_on(source, self._held.pop(source))
            for source in ready:
                if source is self._wake:
                    if self._wake.recv(16).startswith(b"c"):
                        self._cut_all()
                elif source is self._listener:
                    self._accept()
                elif source in self._routes:
                    self._relay(source)
        self._cut_all()
        self._listener.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._routes[client] = server, self.up
        self._routes[server] = client, self.down
        if self.up.is_cut or self.down.is_cut:
            self._cut(client)

    def _relay(self, source: socket.socket) -> None:
        try:
            data = source.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self._cut(source)
            return
        self._pass_on(source, self._routes[source][1].rewrite(data))

    def _pass_on(self, source: socket.socket, data: bytes) -> None:
        if source not in self._routes:
            return  # cut in the meantime
        sink, way = self._routes[source]
        while data and not self._closing:
            size = way.room()
            if not size:
                break
            if way.pause:
                time.sleep(way.pause)
            # Noted first: who has got the bytes may look at once whether they are noted.
            way.passed += data[:size]
            try:
                sink.sendall(data[:size])
            except OSError:
                del way.passed[-size:]
                self._cut(source)
                return
            data = data[size:]
        if way.is_cut:
            self._cut(source)
        elif data:
            self._held[source] = data

    def _cut(self, sock: socket.socket) -> None:
        other = self._routes.pop(sock)[0]
        del self._routes[other]
        for one in (sock, other):
            self._held.pop(one, None)
            if self._reset:
                reset_connection(one)
            one.close()

    def _cut_all(self) -> None:
        while self._routes:
            self._cut(next(iter(self._routes)))


def reset_connection(sock: socket.socket) -> None:
    """Close a connection by a reset: linger on, for no time."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def small_buffer_socket(port: int) -> socket.socket:
    """A socket, connected to a port of 127.0.0.1, that holds few bytes the peer has not read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
    sock.connect(("127.0.0.1", port))
    return sock


def error_within(seconds: float, call: Callable[[], object]) -> AMIError:
    """The error of a call that has to end within its timeout, plus a tenth of it.

    A loaded machine is late at random, a bug each time; so there are five tries.
    """
    for _ in range(5):
        start = time.monotonic()
        with pytest.raises(AMIError) as caught:
            call()
        took = time.monotonic() - start
        if took <= seconds * 1.1:
            return caught.value
    raise AssertionError(f"{took:.3f} s for a timeout of {seconds} s; {caught.value!r}")


def start_thread(function: Callable[[], object]) -> threading.Thread:
    """A thread that runs a function, started."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def count_open_fds() -> int:
    """How many files and sockets this process has open; 0 where the system does not say."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


@contextmanager
def assert_no_fd_leak() -> Iterator[None]:
    """Check that a block leaves no more files and sockets open than there were before."""
    before = count_open_fds()
    yield
    for _ in range(100):
        if count_open_fds() <= before:
            break
        time.sleep(0.02)  # the other side of a connection
    assert count_open_fds() <= before


@contextmanager
def alarm_handler(handler: Callable[[int, Optional[FrameType]], object]) -> Iterator[None]:
    """Have a handler of the signal that :func:`signal.setitimer` sends, in a block."""
    old = signal.signal(signal.SIGALRM, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def raise_interrupt(number: int, frame: Optional[FrameType]) -> None:
    """A handler that does what Python's own does with Ctrl-C."""
    raise KeyboardInterrupt
