"""The transport: a socket that waits no longer than it is told."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from typing import Iterator, Tuple

import pytest

from amiclient._transport import Closed, Deadline, Expired, Transport
from tests.certificates import SERVER_PEM
from tests.faults import Proxy, start_thread
from tests.peer import Peer
from tests.script import Script, hold, read_until_eof, send

Pair = Tuple[Transport, socket.socket]


def _transport(sock: socket.socket) -> Transport:
    transport = Transport()
    transport.attach(sock)
    return transport


@pytest.fixture(params=["poll", "select"])
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """A transport and the other end of its connection, with and without poll()."""
    if request.param == "select":
        monkeypatch.delattr(select, "poll", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sock = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    transport = _transport(sock)
    with other:
        yield transport, other
        transport.close()


def test_it_takes_what_comes(pair: Pair) -> None:
    transport, other = pair
    assert not transport.readable() and transport.receive() is None
    assert transport.send(b"x") == 1 and not transport.has_partial_record
    other.sendall(b"abc")
    assert transport.receive_before(False, Deadline(5.0)) == b"abc"
    threading.Timer(0.05, other.sendall, (b"def",)).start()
    assert transport.receive_before(False, Deadline(None)) == b"def"
    assert not transport.is_tls


@pytest.mark.skipif(not hasattr(select, "poll"), reason="needs poll()")
def test_a_process_may_have_a_thousand_files() -> None:
    import fcntl

    ours, other = socket.socketpair()
    try:
        number = fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, 1500)  # select() counts up to 1023
    except OSError:
        pytest.skip("so many files are not allowed here")
    with ours, other:
        transport = _transport(socket.socket(fileno=number))
        other.sendall(b"abc")
        assert transport.receive_before(False, Deadline(5.0)) == b"abc"
        transport.close()


def test_it_waits_until_the_deadline_and_no_longer(pair: Pair) -> None:
    transport, other = pair
    for timeout in (0.0, 0.0005, 0.05):
        start = time.monotonic()
        with pytest.raises(Expired):
            transport.receive_before(False, Deadline(timeout))
        assert timeout <= time.monotonic() - start < timeout + 0.5


def test_a_wait_does_not_spin(pair: Pair) -> None:
    transport, _ = pair
    start = time.thread_time()
    for _ in range(20):
        with pytest.raises(Expired):
            transport.receive_before(False, Deadline(0.0123))
    assert time.thread_time() - start < 0.1


def test_what_has_come_is_taken_once_after_the_deadline(pair: Pair) -> None:
    transport, other = pair
    other.sendall(b"abc")
    deadline = Deadline(0.0)
    time.sleep(0.01)
    assert transport.receive_before(False, deadline) == b"abc"
    other.sendall(b"def")
    with pytest.raises(Expired):
        transport.receive_before(False, deadline)


def test_it_comes_back_when_there_is_room_to_write(pair: Pair) -> None:
    transport, other = pair
    assert transport.receive_before(True, Deadline(5.0)) is None
    while transport.send(b"x" * 65536):
        pass
    with pytest.raises(Expired):
        transport.receive_before(True, Deadline(0.02))
    other.sendall(b"abc")
    assert transport.receive_before(True, Deadline(5.0)) == b"abc"
    other.setblocking(False)

    def drain() -> None:
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline and not done.is_set():
            try:
                other.recv(1 << 20)
            except BlockingIOError:
                time.sleep(0.001)

    done = threading.Event()
    thread = start_thread(drain)
    assert transport.receive_before(True, Deadline(5.0)) is None
    assert transport.send(b"x") == 1
    done.set()
    thread.join()


def test_an_end_and_a_reset(pair: Pair) -> None:
    transport, other = pair
    other.sendall(b"last")
    other.shutdown(socket.SHUT_WR)
    assert transport.receive_before(False, Deadline(5.0)) == b"last"
    assert transport.receive_before(False, Deadline(5.0)) == b""
    assert transport.readable()
    transport.send(b"unread")
    time.sleep(0.01)
    other.close()  # with bytes that were not read, which is a reset
    time.sleep(0.01)
    with pytest.raises(Closed):
        for _ in range(3):
            transport.send(b"x")


def test_a_reset_found_by_reading(pair: Pair) -> None:
    transport, other = pair
    transport.send(b"unread")
    time.sleep(0.01)
    other.close()
    with pytest.raises(Closed, match="reset"):
        transport.receive_before(False, Deadline(5.0))


def test_an_end_from_another_thread(pair: Pair) -> None:
    transport, other = pair
    threading.Timer(0.05, transport.request_close, ("enough",)).start()
    with pytest.raises(Closed, match="enough"):
        transport.receive_before(False, Deadline(5.0))
    with pytest.raises(Closed, match="enough"):
        transport.readable()
    transport.close()
    transport.request_close("ended already")
    transport.close()


def test_a_wait_that_another_thread_ends(pair: Pair) -> None:
    transport, other = pair
    threading.Timer(0.05, transport.wake).start()
    assert transport.receive_before(False, Deadline(5.0)) is None
    for _ in range(100_000):  # more than there is room for
        transport.wake()
    other.sendall(b"abc")
    assert transport.receive_before(False, Deadline(5.0)) == b"abc"
    heeded = 0
    with pytest.raises(Expired):  # calls that were heeded end no wait any more, many at once
        while transport.receive_before(False, Deadline(0.2)) is None:
            heeded += 1
    assert heeded < 10


class _Stubborn(socket.socket):
    # As a socket whose close reports a reset: some systems do.
    def close(self) -> None:
        super().close()
        raise ConnectionResetError("reset")


def test_an_error_of_closing_changes_nothing() -> None:
    _transport(_Stubborn()).close()


def _secured(port: int, ragged: bool) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=SERVER_PEM)
    # Some builds of Python make a goodbye of an end without one.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    sock = socket.create_connection(("127.0.0.1", port))
    return context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=ragged)


def test_what_tls_has_read_ahead_is_readable() -> None:
    with Script(send(b"abc"), read_until_eof, tls=True) as script:
        sock = _secured(script.port, True)
        assert sock.recv(1) == b"a"
        transport = _transport(sock)
        assert transport.is_tls and transport.readable()
        assert transport.receive_before(False, Deadline(5.0)) == b"bc"
        assert not transport.readable()
        transport.close()


@pytest.mark.parametrize("ragged", [True, False])
def test_an_end_without_the_goodbye_of_tls_is_an_end(ragged: bool) -> None:
    with Script(send(b"abc"), read_until_eof, tls=True) as script, Proxy(script.port) as proxy:
        transport = _transport(_secured(proxy.port, ragged))
        # The proxy has nothing unread then, and its end is no reset.
        assert transport.receive_before(False, Deadline(5.0)) == b"abc"
        proxy.cut()
        assert transport.receive_before(False, Deadline(5.0)) == b""
        transport.close()


def _say_goodbye(peer: Peer) -> None:
    assert isinstance(peer.sock, ssl.SSLSocket)
    peer.sock.unwrap()


class _Ended(socket.socket):
    """A socket whose reading fails as that of some build of Python."""

    error: OSError = ssl.SSLError()

    def recv(self, size: int, flags: int = 0) -> bytes:
        raise self.error


def _with_reason(reason: str) -> OSError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "is_end"),
    [
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), True),
        (ssl.SSLZeroReturnError(6, "TLS/SSL connection has been closed"), True),
        (_with_reason("UNEXPECTED_EOF_WHILE_READING"), True),
        (_with_reason("BAD_RECORD"), False),
        (ConnectionResetError(104, "Connection reset by peer"), False),
    ],
)
def test_how_builds_of_python_tell_an_end(error: OSError, is_end: bool) -> None:
    sock = _Ended()
    sock.error = error
    transport = _transport(sock)
    if is_end:
        assert transport.receive() == b""
    else:
        with pytest.raises(Closed, match="reading failed: "):
            transport.receive()
    transport.close()


def test_a_goodbye_of_tls_is_an_end() -> None:
    with Script(_say_goodbye, tls=True) as script:
        transport = _transport(_secured(script.port, False))
        assert transport.receive_before(False, Deadline(5.0)) == b""
        transport.close()


def test_half_a_record_is_nothing_yet() -> None:
    steps = (send(b"first"), hold, send(b"second"), read_until_eof)
    with Script(*steps, tls=True) as script, Proxy(script.port) as proxy:
        transport = _transport(_secured(proxy.port, True))
        assert transport.receive_before(False, Deadline(5.0)) == b"first"
        proxy.down.stall = len(proxy.down.passed) + 7
        script.release()
        with pytest.raises(Expired):
            transport.receive_before(False, Deadline(0.1))
        threading.Timer(0.1, setattr, (proxy.down, "stall", None)).start()
        assert transport.receive_before(False, Deadline(5.0)) == b"second"
        transport.close()


def test_bytes_that_are_no_tls_break_the_connection() -> None:
    with Script(hold, send(b"abc"), read_until_eof, tls=True) as script, Proxy(
        script.port
    ) as proxy:
        transport = _transport(_secured(proxy.port, True))
        proxy.down.rewrite = lambda data: b"\xff" * len(data)
        script.release()
        with pytest.raises(Closed):
            transport.receive_before(False, Deadline(5.0))
        transport.close()
