"""Opening a connection: addresses, deadlines, TLS, sockets of the caller's."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from amiclient import (
    NOT_SENT,
    Client,
    ConnectError,
    ConnectTimeout,
    NotConnected,
    SendFailed,
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
)
from tests.script import Script, accept_all, log_in, read_until_eof


@contextmanager
def _full_backlog() -> Iterator[int]:
    # A port where a connection is neither taken nor refused, as behind a firewall.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting: List[socket.socket] = []
        try:
            for _ in range(4):
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(listener.getsockname())
                waiting.append(sock)
            yield listener.getsockname()[1]
        finally:
            for sock in waiting:
                sock.close()


def _connect(client: Client) -> None:
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


@pytest.mark.parametrize("port", [0, -1, 65536, 99999, 65536 + 5038])
def test_a_port_that_there_is_not(port: int) -> None:
    with pytest.raises(ValueError, match="port is .*; give 1 to 65535"):
        client_of(port)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b", "\udcff", "a\0b"])
def test_a_host_that_there_is_not(host: str) -> None:
    with pytest.raises(ConnectError, match="cannot be looked up") as caught:
        Client(host, username="u", secret="s").connect()
    assert caught.value.field == "host" and caught.value.outcome == NOT_SENT


def test_each_address_of_a_host_is_tried(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Script() as script:
        closed = script.port
    found = [
        (12345, socket.SOCK_STREAM, 0, "", ("::1", 1)),  # a family the kernel has not
        (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", closed)),
        (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", server.port)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: found)
    _connect(client_of(server.port))
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
def test_ipv6_plain_and_tls(secure: LoopbackServer) -> None:
    with LoopbackServer() as plain, Proxy(plain.port, host="::1") as proxy:
        _connect(client_of(proxy.port, host="::1"))
    with Proxy(secure.port, host="::1") as proxy:
        _connect(client_of(proxy.port, host="::1", tls=SERVER_PEM))
    with Script(log_in, host="::1") as script:
        with opened(client_of(script.port, host="::1")):
            pass


def test_a_connection_that_nobody_takes_ends_by_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _full_backlog() as port:
        error = error_within(0.3, client_of(port, 0.3).connect)
        assert type(error) is ConnectTimeout and error.outcome == NOT_SENT
        # Several addresses share the one deadline.
        address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: [address] * 3)
        error = error_within(0.3, client_of(port, 0.3).connect)
        assert type(error) is ConnectTimeout
        # So that one which hangs leaves time for the others.
        with LoopbackServer() as server:
            good = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", server.port))
            monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: [address, good])
            _connect(client_of(port, 2.0))


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_an_interrupt_while_connecting_leaves_no_socket() -> None:
    with _full_backlog() as port, alarm_handler(raise_interrupt):
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            client_of(port).connect()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs sockets of Unix")
def test_a_connection_that_is_there_or_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = str(tmp_path / "socket")
    found = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", path)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: found)
    with pytest.raises(ConnectError, match="No such file"):
        client_of(5038).connect()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        with pytest.raises(ConnectTimeout, match="did not finish the login"):
            client_of(5038, 0.1).connect()


def test_a_wait_to_be_connected_that_is_woken_goes_on() -> None:
    with _full_backlog() as port:
        client = client_of(port, 0.5)
        threading.Timer(0.1, lambda: _wake(client)).start()
        error = error_within(0.5, client.connect)
        assert type(error) is ConnectTimeout


def _wake(client: Client) -> None:
    transport = client._state().transport
    assert transport is not None
    transport.wake()


# -- TLS.


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tls": True}, "is not trusted.*as tls="),
        ({"tls": OTHER_PEM}, "is not trusted"),
        ({"tls": SERVER_PEM, "tls_hostname": "pbx.example.org"},
         "pbx.example.org.* is not trusted.*mismatch"),
    ],
    ids=["nobody signed it", "another authority", "another name"],
)  # fmt: skip
def test_a_certificate_that_is_refused(
    secure: LoopbackServer, options: Dict[str, Any], words: str
) -> None:
    with pytest.raises(TLSError, match=words) as caught:
        client_of(secure.port, **options).connect()
    assert caught.value.outcome == NOT_SENT
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


@pytest.mark.parametrize(
    "options",
    [{"tls": SERVER_PEM}, {"tls": Path(SERVER_PEM)},
     {"tls": SERVER_PEM, "tls_hostname": "localhost"}],
    ids=["file", "path", "another name"],
)  # fmt: skip
def test_a_certificate_that_is_accepted(secure: LoopbackServer, options: Dict[str, Any]) -> None:
    _connect(client_of(secure.port, **options))


def test_a_context_is_taken_as_it_is(secure: LoopbackServer) -> None:
    context = ssl.create_default_context(cafile=SERVER_PEM)
    assert tls_context(context) is context
    _connect(client_of(secure.port, tls=context))
    # Verification is off where the caller's own context says so, and nowhere else.
    careless = ssl.create_default_context()
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE
    _connect(client_of(secure.port, tls=careless, tls_hostname="whatever"))


@needs_certificates
@pytest.mark.parametrize("tls", [True, SERVER_PEM])
def test_every_context_made_here_verifies(tls: Any) -> None:
    context = tls_context(tls)
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname


@needs_certificates
@pytest.mark.parametrize("has_partial_chain", [True, False])
def test_a_file_is_trusted_as_it_is(
    has_partial_chain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = ssl.create_default_context
    partial_chain = 0x80000

    def strict(**options: Any) -> ssl.SSLContext:  # as from Python 3.13 on
        context = usual(**options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.verify_flags &= ~partial_chain  # set by 3.13, and here left to the client
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    if has_partial_chain:
        monkeypatch.setattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", partial_chain, raising=False)
    else:  # as before Python 3.10
        monkeypatch.delattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", raising=False)
    expected = usual().verify_flags & ~ssl.VERIFY_X509_STRICT & ~partial_chain
    if has_partial_chain:
        expected |= partial_chain
    own, system = tls_context(SERVER_PEM), tls_context(True)
    assert isinstance(own, ssl.SSLContext) and isinstance(system, ssl.SSLContext)
    assert own.verify_flags == expected
    assert system.verify_flags & ssl.VERIFY_X509_STRICT  # the system's are not touched


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "the path is empty; give the path of a PEM file"),
        ("no such file", "No such file"),
        (__file__, ""),
        (str(Path(__file__).parent), ""),
    ],
    ids=["empty", "missing", "text", "folder"],
)
def test_a_file_that_holds_no_certificate(path: str, words: str) -> None:
    # And nothing is opened: an empty path must not mean a connection in the clear.
    with Script(read_until_eof) as script:
        with pytest.raises(TLSError, match=f"no certificate can be read.*{words}"):
            client_of(script.port, tls=path).connect()
        assert script.peers == []


@needs_certificates
def test_a_wait_for_the_answer_to_tls_does_not_spin() -> None:
    with Script(read_until_eof) as script:
        client = client_of(script.port, 0.4, tls=SERVER_PEM)
        start = time.thread_time()
        with pytest.raises(ConnectTimeout, match="no answer to TLS in time"):
            client.connect()
        assert time.thread_time() - start < 0.1


def test_a_name_that_tls_cannot_ask_for(secure: LoopbackServer) -> None:
    with pytest.raises(TLSError, match="no TLS with"):
        client_of(secure.port, tls=SERVER_PEM, tls_hostname=".example.org").connect()


def _records(data: bytes) -> List[Tuple[int, int]]:
    found = []
    position = 0
    while position + 5 <= len(data):
        size = int.from_bytes(data[position + 3 : position + 5], "big")
        found.append((data[position], size))
        position += 5 + size
    return found


def test_each_line_is_a_record_and_no_record_is_over_1024_bytes() -> None:
    # In TLS 1.2 the type of a record can be seen; each of AES-GCM has 24 bytes more than its text.
    context = ssl.create_default_context(cafile=SERVER_PEM)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    with Script(log_in, accept_all, tls=True) as script, Proxy(script.port) as proxy:
        with opened(client_of(proxy.port, tls=context)) as client:
            variables = {f"X-{number}": "v" * 900 for number in range(5)}
            client.send_message("pjsip:a", "b" * 900, variables=variables)
            client.send_message("pjsip:a", "b" * 1016)
        script.wait_for_end()
    sizes = [size - 24 for kind, size in _records(bytes(proxy.up.passed)) if kind == 23]
    # And the last CR and the last LF of an action are records of their own.
    expected: List[int] = []
    for line in script.peers[0].received.split(b"\n")[:-1]:
        expected += [1, 1] if line == b"\r" else [len(line) + 1]
    assert sizes == expected
    assert max(sizes) == 1024


# -- Sockets of the caller's.


def _socket_to(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port))


def test_a_socket_that_is_given(server: LoopbackServer, secure: LoopbackServer) -> None:
    sock = _socket_to(server.port)
    client = client_over(sock)
    _connect(client)
    assert sock.fileno() < 0
    with pytest.raises(NotConnected, match="used up"):
        client.connect()
    # With TLS on it, or put on it here.
    context = ssl.create_default_context(cafile=SERVER_PEM)
    _connect(client_over(context.wrap_socket(_socket_to(secure.port), server_hostname="localhost")))
    _connect(client_over(_socket_to(secure.port), tls=SERVER_PEM, tls_hostname="localhost"))


def test_a_socket_that_is_no_tcp() -> None:
    ours, theirs = socket.socketpair()
    with Script(log_in, accept_all) as script:
        script.add_client(theirs)
        with client_over(ours) as client:
            client.send_message("sip:a", "b")


def test_a_given_socket_does_not_wait_for_more_to_send(server: LoopbackServer) -> None:
    sock = _socket_to(server.port)
    with client_over(sock):
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_socket_that_is_given_is_closed_whatever_happens(secure: LoopbackServer) -> None:
    sock = _socket_to(secure.port)
    client_over(sock).close()
    assert sock.fileno() < 0
    for options, error in (
        ({"tls": "no such file"}, TLSError),
        ({"tls": OTHER_PEM}, TLSError),
        ({"timeout": 0, "tls": SERVER_PEM}, ConnectTimeout),
        ({"timeout": 0.1}, ConnectTimeout),
    ):
        sock = _socket_to(secure.port)
        with pytest.raises(error):
            client_over(sock, **options).connect()
        assert sock.fileno() < 0


def test_a_socket_that_is_closed_or_not_connected() -> None:
    sock = socket.socket()
    with pytest.raises(SendFailed):
        client_over(sock, timeout=5.0).connect()
    assert sock.fileno() < 0
    with pytest.raises(ConnectError, match="is closed"):
        client_over(sock).connect()
