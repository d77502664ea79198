"""Opening a connection: resolve the host, connect, and start TLS, all before one deadline."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Optional, Protocol, Tuple, Union

from ._transport import Deadline, Expired, Transport, is_eof, reraise_if_from_handler
from .exceptions import ConnectError, ConnectTimeout, TLSError

#: The AMI port and the AMI TLS port, by default, in every version of Asterisk.
DEFAULT_PORT = 5038
DEFAULT_TLS_PORT = 5039


class SSLContext(Protocol):
    """An :class:`ssl.SSLContext`.

    For annotations only: ``import amiclient`` does not import :mod:`ssl`, which takes 5 ms.
    """

    def wrap_socket(self, sock: socket.socket, *args: Any, **options: Any) -> socket.socket:
        """Return the socket with TLS."""
        ...


#: The type of the argument ``tls`` of :class:`amiclient.Client`, which may also be None. Python 3.8
#: cannot write ``os.PathLike[str]`` as a type at run time.
TLS = Union[bool, str, os.PathLike, SSLContext]  # type: ignore[type-arg]


def tls_context(tls: TLS) -> SSLContext:
    """Return the :class:`ssl.SSLContext` for an argument ``tls``.

    :param tls: True to trust the CAs of the system; the path of a PEM file with the certificate to
        trust, a CA's or the server's own; or a context, which is returned unchanged.
    :raises TLSError: if the file cannot be read or holds no certificate.
    """
    import ssl

    if isinstance(tls, ssl.SSLContext):
        return tls
    if tls is True:
        return ssl.create_default_context()
    if not tls:  # create_default_context() would trust the CAs of the system
        raise TLSError("tls is an empty path; expected that of a PEM file", field="tls")
    try:
        context = ssl.create_default_context(cafile=tls)  # type: ignore[arg-type]
    except OSError as error:
        reraise_if_from_handler(error)
        raise TLSError(
            f"cannot load a certificate from {tls!r}: {error}; a PEM file is required", field="tls"
        ) from error
    # The certificates in a file that the caller names are trusted. Those that Asterisk's
    # ast_tls_cert script makes lack extensions that Python 3.13 requires of a CA by default.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0)
    return context


def open_transport(transport: Transport, host: str, port: int, deadline: Deadline) -> None:
    """Connect a transport to a host, without TLS.

    The lookup of a name takes as long as the system's resolver allows; the deadline is checked when
    it is done. Each address of the host gets its share of the remaining time.

    :raises ConnectError: if the host has no address, or no address accepts the connection.
    :raises ConnectTimeout: if the deadline passes.
    """
    try:
        addresses = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        reraise_if_from_handler(error)
        raise ConnectError(f"cannot resolve host {host!r}: {error}", field="host") from error
    failure: Optional[BaseException] = None
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        seconds = deadline.remaining()
        if seconds == 0.0:
            break
        if seconds is not None:
            seconds /= len(addresses) - number  # so that a silent address leaves time for others
        try:
            transport.attach(socket.socket(family, kind, protocol))  # OSError: no IPv6
            _connect(transport, address, Deadline(seconds))
            set_socket_options(transport.sock)
            return
        except (OSError, Expired) as error:
            reraise_if_from_handler(error)
            failure = error
    if deadline.remaining() == 0.0:
        raise ConnectTimeout(f"timed out while connecting to {host} port {port}")
    raise ConnectError(
        f"cannot connect to {host} port {port}: {failure}; check that Asterisk is running, and "
        "bindaddr, port and tlsenable in manager.conf",
        field="port",
    ) from failure


def _connect(transport: Transport, address: Tuple[Any, ...], deadline: Deadline) -> None:
    sock = transport.sock
    code = sock.connect_ex(address)
    if code in (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN):
        while not transport.wait(write=True, seconds=deadline.remaining()):
            pass  # another thread interrupted the wait
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


#: Keepalive after 60 s of silence, every 10 s, 6 times; and as long for data that is not
#: acknowledged (ms). Not every system has every option.
_TCP_OPTIONS = (
    ("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6), ("TCP_USER_TIMEOUT", 120_000)
)  # fmt: skip


def set_socket_options(sock: socket.socket) -> None:
    """Disable Nagle's algorithm and enable keepalive, if the socket is a TCP socket."""
    try:
        # Actions are small and each is waited for: Nagle's delay would be added to every message,
        # and with TLS to every line.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _TCP_OPTIONS:
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    except OSError as error:
        reraise_if_from_handler(error)
        # Another kind of socket, or a broken one, which its first use will show.


#: OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH.
_WRONG_NAME = (62, 64)


def start_tls(
    transport: Transport, context: SSLContext, server_name: str, deadline: Deadline
) -> None:
    """Start TLS on a connected transport and check the certificate of the server.

    :raises TLSError: if the handshake fails, or the certificate is not trusted.
    :raises ConnectTimeout: if the deadline passes.
    """
    import ssl

    try:
        # Fails here if it would fail in wrap_socket(), which leaks a socket then (before 3.12).
        server_name.encode("idna")
        transport.sock.getpeername()
        transport.attach(
            context.wrap_socket(
                transport.sock, server_hostname=server_name, do_handshake_on_connect=False
            )
        )
        _do_handshake(transport, deadline)
    except Expired as error:
        raise ConnectTimeout(
            f"TLS handshake with {server_name} timed out; check that this is the TLS port"
        ) from error
    except ssl.SSLCertVerificationError as error:
        field = "tls_hostname" if error.verify_code in _WRONG_NAME else "tls"
        raise TLSError(
            f"the certificate of {server_name} is not trusted: {error.verify_message}", field=field
        ) from error
    except (OSError, ValueError) as error:
        reraise_if_from_handler(error)
        raise TLSError(
            f"TLS handshake with {server_name} failed: {error}; check tlsenable and tlsbindaddr in "
            "manager.conf, and that this is the TLS port",
            retryable=is_eof(error) or isinstance(error, ConnectionError),
        ) from error


def _do_handshake(transport: Transport, deadline: Deadline) -> None:
    import ssl

    sock = transport.sock
    assert isinstance(sock, ssl.SSLSocket)
    while True:
        seconds = deadline.next_wait()
        try:
            sock.do_handshake()
            return
        except ssl.SSLWantReadError:
            pass  # a hello is a few hundred bytes, for which a new socket has room
        transport.wait(False, seconds)
