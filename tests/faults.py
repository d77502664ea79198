"""Network faults on real sockets, and the clients to test with them.

:class:`Proxy` relays connections and can cut, stall or slow them down. Its thread and its
sockets end with its ``with`` block.
"""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Callable, Dict, Iterator, Optional, Tuple

import pytest

from amiclient import ActionResult, AMIError, Client
from amiclient.loopback import SECRET, USERNAME

#: Buffer size of a socket that is meant to fill up quickly, in bytes.
SMALL_BUFFER = 4096

#: The socket options SO_ATTACH_FILTER and SO_DETACH_FILTER of Linux.
_ATTACH_FILTER, _DETACH_FILTER = 26, 27


def client_of(port: int, timeout: Optional[float] = 10.0, **options: object) -> Client:
    """Return a client, not connected yet, for a server on a port of 127.0.0.1."""
    options = {"host": "127.0.0.1", "username": USERNAME, "secret": SECRET, **options}
    return Client(port=port, timeout=timeout, **options)  # type: ignore[arg-type]


def client_over(sock: socket.socket, **options: object) -> Client:
    """Return a client for a socket that is already connected."""
    return Client(sock=sock, username=USERNAME, secret=SECRET, **options)  # type: ignore[arg-type]


@contextmanager
def opened(client: Client) -> Iterator[Client]:
    """Connect a client and close it at the end, without a logoff."""
    client.connect()
    try:
        yield client
    finally:
        client.close()


def _drop_packets(sock: socket.socket, drop: bool) -> None:
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # return 0
    value = struct.pack("HP", 1, ctypes.addressof(program))
    sock.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER if drop else _DETACH_FILTER, value)


def can_drop_packets() -> bool:
    """Return True on Linux, unless its settings allow socket filters to root alone."""
    try:
        with socket.socket() as sock:
            if sys.platform == "linux":
                _drop_packets(sock, True)
                return True
    except PermissionError:
        pass
    return False


@dataclass
class Direction:
    """The faults in one direction of a proxy. They may be changed while it runs.

    :param cut: number of bytes after which the connection is cut, in both directions.
    :param stall: number of bytes after which nothing is relayed.
    :param size: maximum size of a write.
    :param pause: seconds to wait before each write.
    """

    cut: Optional[int] = None
    stall: Optional[int] = None
    size: int = 1 << 20
    pause: float = 0.0
    #: The bytes relayed so far.
    passed: bytearray = field(default_factory=bytearray)

    @property
    def is_cut(self) -> bool:
        return self.cut is not None and len(self.passed) >= self.cut

    @property
    def is_stalled(self) -> bool:
        return self.stall is not None and len(self.passed) >= self.stall

    def room(self) -> int:
        """Return the number of bytes that may be relayed now."""
        limits = [end - len(self.passed) for end in (self.cut, self.stall) if end is not None]
        return max(0, min([self.size, *limits]))


class Proxy:
    """A TCP proxy to a port of 127.0.0.1, with one thread for all connections.

    :param port: the port to relay to.
    :param up: the faults from client to server (default: none).
    :param down: the faults from server to client (default: none).
    :param reset: whether to cut connections with a reset instead of an end of file.
    :param host: the address to listen on.
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
        # The destination and direction of each socket's bytes, and bytes read but not relayed yet.
        self._routes: Dict[socket.socket, Tuple[socket.socket, Direction]] = {}
        self._held: Dict[socket.socket, bytes] = {}
        self._wake, self._waker = socket.socketpair()
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Cut every open connection."""
        self._waker.send(b"c")

    def drop_packets(self, drop: bool = True) -> None:
        """Drop all packets silently, also those of new connections, or stop dropping (Linux)."""
        for sock in (self._listener, *list(self._routes)):
            _drop_packets(sock, drop)

    def stall(self, stall: bool = True) -> None:
        """Stop relaying, or go on; the system still acknowledges what it receives."""
        for way in (self.up, self.down):
            way.stall = 0 if stall else None

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
        if data:
            self._pass_on(source, data)
        else:
            self._cut(source)

    def _pass_on(self, source: socket.socket, data: bytes) -> None:
        if source not in self._routes:
            return  # already cut
        sink, way = self._routes[source]
        while data and not self._closing and (size := way.room()):
            if way.pause:
                time.sleep(way.pause)
            # Counted first, because the receiver may check the count immediately.
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
    """Close a connection with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def small_buffer_socket(port: int) -> socket.socket:
    """Return a socket with a small send buffer, connected to a port of 127.0.0.1."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
    sock.connect(("127.0.0.1", port))
    return sock


def tls_records(data: bytes) -> Iterator[Tuple[int, int, int]]:
    """Yield the offset, the type and the size of each TLS record."""
    offset = 0
    while offset < len(data):
        size = int.from_bytes(data[offset + 3 : offset + 5], "big")
        yield offset, data[offset], size
        offset += 5 + size


def error_within(seconds: float, call: Callable[[], object]) -> AMIError:
    """Return the error of a call, which must end within its timeout plus 10 %.

    Up to five attempts are made, because a loaded machine is late only sometimes.
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
    """Run a function in a new thread and return the thread."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def buffered_results() -> int:
    """Return the number of results of actions in memory, such as those that no call has taken."""
    gc.collect()
    return sum(type(one) is ActionResult for one in gc.get_objects())


def count_open_fds() -> int:
    """Return the number of open files and sockets of this process, or 0 if unknown."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def rss_kib() -> int:
    """Return the resident memory of this process in KiB, or 0 if unknown."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    except OSError:
        return 0


@contextmanager
def assert_no_fd_leak() -> Iterator[None]:
    """Check that a block leaves no additional file or socket open."""
    before = count_open_fds()
    yield
    deadline = time.monotonic() + 2.0
    while count_open_fds() > before:  # until the other end of a connection is closed
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def alarm_handler(handler: Callable[[int, Optional[FrameType]], object]) -> Iterator[None]:
    """Install a handler for SIGALRM, the signal of :func:`signal.setitimer`, for a block."""
    old = signal.signal(signal.SIGALRM, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def raise_interrupt(number: int, frame: Optional[FrameType]) -> None:
    """Raise KeyboardInterrupt, as Python's handler for Ctrl-C does."""
    raise KeyboardInterrupt
