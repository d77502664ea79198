"""Transport and Deadline: waiting, wake-ups, ends of a stream, TLS."""

from __future__ import annotations

import errno
import select
import socket
import ssl
import threading
import time
from contextlib import closing
from typing import Iterator, Optional, Tuple

import pytest

from amiclient._transport import Closed, Deadline, Expired, Transport
from tests.certificates import SERVER_PEM
from tests.faults import Proxy, start_thread
from tests.script import Script, read_until_eof, send

Pair = Tuple[Transport, socket.socket]


def _transport(sock: socket.socket) -> Transport:
    transport = Transport()
    transport.attach(sock)
    return transport


@pytest.fixture(params=["poll", "select"])
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """A transport and its peer's socket, with and without poll()."""
    if request.param == "select":
        monkeypatch.delattr(select, "poll")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sock = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    with other, closing(_transport(sock)) as transport:
        yield transport, other


# -- Deadlines.


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("-inf"), float("nan")])
def test_past_deadline_allows_one_wait(timeout: float) -> None:
    deadline = Deadline(timeout)
    assert deadline.remaining() == 0.0
    assert deadline.next_wait() == 0.0
    for _ in range(2):
        with pytest.raises(Expired):
            deadline.next_wait()


@pytest.mark.parametrize("timeout", [None, float("inf"), 1e300, 2_000_000.0])
def test_unlimited_deadline(timeout: Optional[float]) -> None:
    deadline = Deadline(timeout)
    assert deadline.remaining() is None
    assert deadline.next_wait() is None
    assert deadline.next_wait() is None


# -- Reading, writing, waiting.


def test_send_and_receive(pair: Pair) -> None:
    transport, other = pair
    assert transport.receive() is None
    assert transport.send(b"x") == 1 and not transport.has_partial_record
    other.sendall(b"abc")
    assert transport.receive_before(False, Deadline(5.0)) == b"abc"
    threading.Timer(0.03, other.sendall, (b"def",)).start()
    assert transport.receive_before(False, Deadline(None)) == b"def"
    assert not transport.is_tls


@pytest.mark.skipif(not hasattr(select, "poll"), reason="needs poll()")
def test_descriptor_beyond_limit_of_select() -> None:
    import fcntl
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1501:
        pytest.skip(f"needs 1501 open files, and the hard limit is {hard}")
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1501), hard))
    ours, other = socket.socketpair()
    try:
        number = fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, 1500)  # select() stops at 1023
        with ours, other, closing(_transport(socket.socket(fileno=number))) as transport:
            other.sendall(b"abc")
            assert transport.receive_before(False, Deadline(5.0)) == b"abc"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_receive_ends_by_the_deadline(pair: Pair) -> None:
    transport, _ = pair
    cpu_start = time.thread_time()
    for timeout in (0.0, 0.0005, 0.05, *[0.0123] * 20):
        start = time.monotonic()
        with pytest.raises(Expired):
            transport.receive_before(False, Deadline(timeout))
        assert timeout <= time.monotonic() - start < timeout + 0.5
    assert time.thread_time() - cpu_start < 0.1  # it does not spin


def test_available_data_is_received_once_after_the_deadline(pair: Pair) -> None:
    transport, other = pair
    other.sendall(b"abc")
    deadline = Deadline(0.0)
    time.sleep(0.01)
    assert transport.receive_before(False, deadline) == b"abc"
    other.sendall(b"def")
    with pytest.raises(Expired):
        transport.receive_before(False, deadline)


def test_wait_for_writing(pair: Pair) -> None:
    transport, other = pair
    assert transport.receive_before(True, Deadline(5.0)) is None
    sent = 0
    while True:
        count = transport.send(b"x" * 65536)
        if not count:
            break
        sent += count
    with pytest.raises(Expired):
        transport.receive_before(True, Deadline(0.02))
    other.sendall(b"abc")
    assert transport.receive_before(True, Deadline(5.0)) == b"abc"
    thread = start_thread(lambda: other.recv(sent, socket.MSG_WAITALL))
    assert transport.receive_before(True, Deadline(5.0)) is None
    assert transport.send(b"x") == 1
    thread.join()


# -- The end of a connection, and wake-ups.


def test_eof_and_reset(pair: Pair) -> None:
    transport, other = pair
    other.sendall(b"last")
    other.shutdown(socket.SHUT_WR)
    assert transport.receive_before(False, Deadline(5.0)) == b"last"
    assert transport.receive_before(False, Deadline(5.0)) == b""
    transport.send(b"unread")
    time.sleep(0.01)
    other.close()  # resets the connection because of the unread data
    time.sleep(0.01)
    with pytest.raises(Closed):
        for _ in range(3):
            transport.send(b"x")


def test_request_close_from_other_thread(pair: Pair) -> None:
    transport, _ = pair
    threading.Timer(0.03, transport.request_close, ("enough",)).start()
    for _ in range(2):
        with pytest.raises(Closed) as caught:
            transport.receive_before(False, Deadline(5.0))
        assert caught.value.args == ("enough",)
    transport.close()
    transport.request_close("already closed")
    transport.close()


def test_wake_from_other_thread(pair: Pair) -> None:
    transport, other = pair
    threading.Timer(0.03, transport.wake).start()
    assert transport.receive_before(False, Deadline(5.0)) is None
    for _ in range(100_000):  # more than the wake-up socket buffers
        transport.wake()
    other.sendall(b"abc")
    assert transport.receive_before(False, Deadline(5.0)) == b"abc"
    count = 0
    with pytest.raises(Expired):  # many wake-ups are drained at once
        while transport.receive_before(False, Deadline(0.1)) is None:
            count += 1
    assert count < 10


class _FailingSocket(socket.socket):
    """A socket whose methods fail: close() with a reset, as on some systems, and recv()."""

    error: OSError = ssl.SSLError()

    def recv(self, size: int, flags: int = 0) -> bytes:
        raise self.error

    def close(self) -> None:
        super().close()
        raise ConnectionResetError(errno.ECONNRESET, "reset")


def _with_reason(reason: str) -> OSError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "is_eof"),
    [
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), True),
        (ssl.SSLZeroReturnError(6, "TLS/SSL connection has been closed"), True),
        (_with_reason("UNEXPECTED_EOF_WHILE_READING"), True),
        (_with_reason("BAD_RECORD"), False),
        (ConnectionResetError(104, "Connection reset by peer"), False),
    ],
)
def test_eof_in_all_builds_of_python(error: OSError, is_eof: bool) -> None:
    sock = _FailingSocket()
    sock.error = error
    with closing(_transport(sock)) as transport:
        if is_eof:
            assert transport.receive() == b""
        else:
            with pytest.raises(Closed) as caught:
                transport.receive()
            assert caught.value.__cause__ is error


# -- TLS.


def _connect_tls(port: int, ragged: bool = True) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=SERVER_PEM)
    # With this option, an EOF without a close_notify looks like one with it.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    sock = socket.create_connection(("127.0.0.1", port))
    return context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=ragged)


def test_data_in_tls_buffer_is_readable() -> None:
    with Script(send(b"abc"), read_until_eof, tls=True) as script:
        sock = _connect_tls(script.port)
        assert sock.recv(1) == b"a"
        with closing(_transport(sock)) as transport:
            assert transport.is_tls
            assert transport.receive_before(False, Deadline(5.0)) == b"bc"
            with pytest.raises(Expired):
                transport.receive_before(False, Deadline(0.0))


@pytest.mark.parametrize("ragged", [True, False])
def test_tls_eof_without_close_notify(ragged: bool) -> None:
    with Script(send(b"abc"), read_until_eof, tls=True) as script, Proxy(script.port) as proxy:
        with closing(_transport(_connect_tls(proxy.port, ragged))) as transport:
            # Read all first: with unread data, the proxy would reset the connection.
            assert transport.receive_before(False, Deadline(5.0)) == b"abc"
            proxy.cut()
            assert transport.receive_before(False, Deadline(5.0)) == b""
