"""connect(): addresses, deadlines, servers that do not speak AMI, TLS, sockets of the caller."""

from __future__ import annotations

import errno
import os
import signal
import socket
import ssl
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Dict, Iterator, List, Union

import pytest

from amiclient import (
    NOT_SENT,
    Client,
    ConnectError,
    ConnectTimeout,
    LoginFailed,
    NotAnAMIServer,
    NotConnected,
    NotSent,
    TLSError,
)
from amiclient._connect import tls_context
from amiclient.loopback import LoopbackServer
from tests.certificates import OTHER_PEM, SERVER_PEM, needs_certificates
from tests.faults import (
    Proxy,
    alarm_handler,
    client_of,
    client_over,
    error_within,
    opened,
    raise_interrupt,
    tls_records,
)
from tests.script import (
    BANNER,
    Script,
    Step,
    accept_all,
    log_in,
    read_until_eof,
    repeat_forever,
    send,
)


@contextmanager
def _full_backlog() -> Iterator[int]:
    """A port that neither accepts nor refuses connections, as behind a firewall."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def _ping(client: Client) -> None:
    with client:
        client.ping()
        assert client.connected


# -- Addresses.


def test_default_ports() -> None:
    def port(**options: Any) -> int:
        return Client(username="u", secret="s", **options).port

    assert port() == port(tls=None) == 5038
    assert port(tls=True) == port(tls=SERVER_PEM) == port(tls=Path(SERVER_PEM)) == 5039
    assert port(tls=ssl.create_default_context()) == port(tls="") == 5039
    assert port(port=7) == port(port=7, tls=True) == 7


def test_connection_refused() -> None:
    with Script() as script:
        port = script.port
    with pytest.raises(NotSent) as caught:
        client_of(port).connect()
    error = caught.value
    assert type(error) is ConnectError and error.outcome == NOT_SENT and error.field == "port"
    assert isinstance(error.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b", "\udcff", "a\0b"])
def test_unresolvable_host(host: str) -> None:
    with pytest.raises(ConnectError) as caught:
        Client(host, username="u", secret="s").connect()
    assert caught.value.field == "host" and caught.value.outcome == NOT_SENT


def test_each_address_of_host_is_tried(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Script() as script:
        closed = script.port
    found = [
        (12345, socket.SOCK_STREAM, 0, "", ("::1", 1)),  # a family that the kernel does not know
        (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", closed)),
        (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", server.port)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: found)
    _ping(client_of(server.port))
    for cause in (ConnectionRefusedError, OSError):
        found.pop()
        with pytest.raises(ConnectError) as caught:
            client_of(server.port).connect()
        assert isinstance(caught.value.__cause__, cause)


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 on this machine")
def test_ipv6(secure: LoopbackServer) -> None:
    with LoopbackServer() as plain, Proxy(plain.port, host="::1") as proxy:
        _ping(client_of(proxy.port, host="::1"))
    with Proxy(secure.port, host="::1") as proxy:
        _ping(client_of(proxy.port, host="::1", tls=SERVER_PEM))


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")
def test_connect_that_ends_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    found = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", path)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: found)
    with pytest.raises(ConnectError) as caught:
        client_of(5038).connect()
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        with pytest.raises(ConnectTimeout):
            client_of(5038, 0.1).connect()


# -- Deadlines.


def test_connect_ends_by_its_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    with _full_backlog() as port:
        error = error_within(0.2, client_of(port, 0.2).connect)
        assert type(error) is ConnectTimeout and error.outcome == NOT_SENT
        # Several addresses share one deadline.
        address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: [address] * 3)
        error = error_within(0.2, client_of(port, 0.2).connect)
        assert type(error) is ConnectTimeout
        # An address that hangs leaves time for the others.
        with LoopbackServer() as server:
            good = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", server.port))
            monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: [address, good])
            _ping(client_of(port, 0.6))


@needs_certificates
@pytest.mark.parametrize(
    ("data", "tls"),
    [(b"", False), (BANNER[:10], False), (BANNER, False), (b"", SERVER_PEM)],
    ids=["nothing", "part of banner", "banner", "no TLS"],
)
def test_silent_server(data: bytes, tls: Union[bool, str]) -> None:
    start = time.thread_time()
    with Script(send(data), read_until_eof) as script:
        error = error_within(0.2, client_of(script.port, 0.2, tls=tls).connect)
    assert time.thread_time() - start < 0.1  # it does not spin
    assert type(error) is ConnectTimeout and error.outcome == NOT_SENT and error.retryable


@contextmanager
def _free_descriptors(count: int) -> Iterator[None]:
    """Leave only a number of descriptors to this process."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open(os.devnull, os.O_RDONLY)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (held[0] + 50, limits[1]))
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(count):
            os.close(held.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for number in held:
            os.close(number)


@pytest.mark.skipif(os.name != "posix", reason="needs a limit of open files")
@pytest.mark.parametrize("count", range(3))
def test_no_descriptors_left(server: LoopbackServer, count: int) -> None:
    client = client_of(server.port)
    for call in (client.connect, client.ping):
        with _free_descriptors(count), pytest.raises(ConnectError) as caught:
            call()
        assert caught.value.outcome == NOT_SENT and caught.value.retryable
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.EMFILE
        del caught  # its traceback refers to the pair of sockets that wakes a wait
    _ping(client)


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_interrupt_while_connecting_closes_socket() -> None:
    with _full_backlog() as port, alarm_handler(raise_interrupt):
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            client_of(port).connect()


def test_wakeup_while_connecting_is_ignored() -> None:
    with _full_backlog() as port:
        client = client_of(port, 0.3)
        threading.Timer(0.1, lambda: client._state().wake()).start()
        assert type(error_within(0.3, client.connect)) is ConnectTimeout


# -- Logins and servers that do not speak AMI.


def test_login_failed(server: LoopbackServer) -> None:
    client = client_of(server.port, secret="wr0ng s3cret")
    with pytest.raises(NotSent) as caught:
        client.connect()
    error = caught.value
    assert isinstance(error, LoginFailed) and error.outcome == NOT_SENT and not error.retryable
    assert error.server_message == "Authentication failed"
    assert "wr0ng" not in str(error) + repr(error) + repr(client)
    assert not client.connected


@pytest.mark.parametrize(
    "step",
    [
        send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
        send(b"SSH-2.0-OpenSSH_9.2\r\n"), send(b"220 mail.example.org ESMTP\r\n"),
        send(b"\r\n" * 1000), send(b"x" * 5000), send(b"\x00" * 300),
        send(b"Asterisk Call Manager\r\n"), repeat_forever(send(b"x" * 5000)),
        send(BANNER, b"Response: " + b"x" * 70_000),
    ],
    ids=["http", "ssh", "smtp", "blank", "long", "nul", "no version", "endless", "login"],
)  # fmt: skip
def test_server_that_does_not_speak_ami(step: Step) -> None:
    with Script(step, read_until_eof) as script:
        with pytest.raises(NotAnAMIServer) as caught:
            client_of(script.port).connect()
    assert caught.value.outcome == NOT_SENT and not caught.value.retryable


def test_tls_to_plain_port(server: LoopbackServer) -> None:
    with pytest.raises(TLSError):
        client_of(server.port, tls=SERVER_PEM).connect()


# -- TLS.


@pytest.mark.parametrize(
    "options",
    [{"tls": True}, {"tls": OTHER_PEM}, {"tls": SERVER_PEM, "tls_hostname": "pbx.example.org"}],
    ids=["unknown authority", "another authority", "another name"],
)
def test_untrusted_certificate(secure: LoopbackServer, options: Dict[str, Any]) -> None:
    with pytest.raises(TLSError) as caught:
        client_of(secure.port, **options).connect()
    assert caught.value.outcome == NOT_SENT and not caught.value.retryable
    assert caught.value.field == ("tls_hostname" if "tls_hostname" in options else "tls")
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


def test_context_of_caller_is_unchanged(secure: LoopbackServer) -> None:
    context = ssl.create_default_context(cafile=SERVER_PEM)
    assert tls_context(context) is context
    _ping(client_of(secure.port, tls=context))
    _ping(client_of(secure.port, tls=Path(SERVER_PEM)))
    # Only the caller's context can turn verification off.
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    _ping(client_of(secure.port, tls=unverified, tls_hostname="whatever"))
    for tls in (True, SERVER_PEM):
        own = tls_context(tls)
        assert isinstance(own, ssl.SSLContext)
        assert own.verify_mode is ssl.CERT_REQUIRED and own.check_hostname


@needs_certificates
@pytest.mark.parametrize("has_partial_chain", [True, False])
def test_verify_flags_for_certificate_file(
    has_partial_chain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ssl.create_default_context
    partial_chain = 0x80000

    def strict(**options: Any) -> ssl.SSLContext:  # as since Python 3.13
        context = original(**options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.verify_flags &= ~partial_chain  # Python 3.13 sets it; here the client has to
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    expected = original().verify_flags & ~ssl.VERIFY_X509_STRICT & ~partial_chain
    if has_partial_chain:
        monkeypatch.setattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", partial_chain, raising=False)
        expected |= partial_chain
    else:  # as before Python 3.10
        monkeypatch.delattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", raising=False)
    own, system = tls_context(SERVER_PEM), tls_context(True)
    assert isinstance(own, ssl.SSLContext) and isinstance(system, ssl.SSLContext)
    assert own.verify_flags == expected
    assert system.verify_flags & ssl.VERIFY_X509_STRICT


@pytest.mark.parametrize(
    "path",
    ["", "no such file", __file__, str(Path(__file__).parent)],
    ids=["empty", "missing", "text", "folder"],
)
def test_invalid_certificate_file_opens_no_connection(path: str) -> None:
    with Script(read_until_eof) as script:
        with pytest.raises(TLSError):
            client_of(script.port, tls=path).connect()
        assert script.peers == []


@needs_certificates
def test_each_line_is_one_tls_record() -> None:
    # TLS 1.2 shows the type of a record, and AES-GCM adds 24 bytes to each.
    context = ssl.create_default_context(cafile=SERVER_PEM)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    with Script(log_in, accept_all, tls=True) as script, Proxy(script.port) as proxy:
        with opened(client_of(proxy.port, tls=context)) as client:
            variables = {f"X-{number}": "v" * 900 for number in range(5)}
            client.send_message("pjsip:a", "b" * 900, variables=variables)
            client.send_message("pjsip:a", "b" * 1016)
        script.wait_for_end()
    sizes = [size - 24 for _, kind, size in tls_records(bytes(proxy.up.passed)) if kind == 23]
    # The last CR and the last LF of an action are separate records.
    expected: List[int] = []
    for line in script.peers[0].received.split(b"\n")[:-1]:
        expected += [1, 1] if line == b"\r" else [len(line) + 1]
    assert sizes == expected
    assert max(sizes) == 1024


# -- Sockets of the caller.


def _socket_to(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port))


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="needs TCP_KEEPIDLE")
def test_dead_peer_is_noticed(server: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT", raising=False)  # as on other systems
    sock = _socket_to(server.port)
    with client_over(sock):
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_socket_of_caller(server: LoopbackServer, secure: LoopbackServer) -> None:
    sock = _socket_to(server.port)
    client = client_over(sock)
    with client:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        client.ping()
    assert sock.fileno() < 0
    with pytest.raises(NotConnected) as caught:
        client.connect()
    assert not caught.value.retryable
    # A TLS socket, and a socket to start TLS on.
    context = ssl.create_default_context(cafile=SERVER_PEM)
    _ping(client_over(context.wrap_socket(_socket_to(secure.port), server_hostname="localhost")))
    _ping(client_over(_socket_to(secure.port), tls=SERVER_PEM, tls_hostname="localhost"))


@pytest.mark.parametrize("tls", [True, SERVER_PEM])
def test_tls_over_socket_needs_a_name(tls: Union[bool, str]) -> None:
    """The default host is not what the socket is connected to."""
    with socket.socket() as sock, pytest.raises(ValueError):
        client_over(sock, tls=tls)


def test_socket_of_caller_is_closed_on_every_path(secure: LoopbackServer) -> None:
    sock = _socket_to(secure.port)
    client_over(sock).close()
    assert sock.fileno() < 0
    for options, error in (
        ({"tls": "no such file", "tls_hostname": "localhost"}, TLSError),
        ({"tls": OTHER_PEM, "tls_hostname": "localhost"}, TLSError),
        ({"tls": SERVER_PEM, "tls_hostname": ".example.org"}, TLSError),
        ({"timeout": 0, "tls": SERVER_PEM, "tls_hostname": "localhost"}, ConnectTimeout),
        ({"timeout": 0.1}, ConnectTimeout),
    ):
        sock = _socket_to(secure.port)
        with pytest.raises(error):
            client_over(sock, **options).connect()
        assert sock.fileno() < 0


def test_unconnected_and_closed_sockets_of_caller() -> None:
    sock = socket.socket()
    for _ in range(2):
        client = client_over(sock, timeout=5.0)
        with pytest.raises(ConnectError) as caught:
            client.connect()
        assert sock.fileno() < 0
        for text in (repr(client), str(caught.value)):  # which show no address
            assert "127.0.0.1" not in text and "5038" not in text
    assert caught.value.field == "sock"
