"""Opening a connection, plain or TLS, before a deadline."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Any, Optional, Tuple, Union

from ._transport import Deadline, Expired, Transport
from .exceptions import ConnectError, ConnectTimeout, TLSError

TLS = Union[bool, str, "os.PathLike[str]", ssl.SSLContext]

#: The manager's port, and that of its TLS listener, in every version of Asterisk.
DEFAULT_PORT = 5038
DEFAULT_TLS_PORT = 5039


def tls_context(tls: TLS) -> ssl.SSLContext:
    """The context that an argument ``tls`` stands for; verification is on in each made here.

    :param tls: True for the system's CAs; the path of a file with a CA's or the server's own
        self-signed certificate (PEM); or a context of the caller's, taken as it is.
    :raises TLSError: when the file cannot be read or holds no certificate.
    """
    import ssl

    if isinstance(tls, ssl.SSLContext):
        return tls
    if tls is True:
        return ssl.create_default_context()
    try:
        if not tls:  # which would stand for the system's CAs
            raise FileNotFoundError("the path is empty")
        context = ssl.create_default_context(cafile=tls)
    except OSError as error:
        raise TLSError(
            f"no certificate can be read from {tls!r}: {error}; give the path of a PEM file"
        ) from error
    # Who names a file trusts what is in it. The certificates that Asterisk's own script makes have
    # not all the extensions that Python 3.13 asks of an authority by default.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0)
    return context


def open_transport(transport: Transport, host: str, port: int, deadline: Deadline) -> None:
    """Connect a transport to a host; TLS is a step of its own (:func:`start_tls`).

    The look-up of a name cannot be cut short by any portable means; the deadline is looked at
    again when it is done. Each address of the host gets its share of the time that is left.

    :raises ConnectError: when no address of the host accepts.
    :raises ConnectTimeout: when the deadline passes.
    :raises Closed: when another thread ends the transport.
    """
    try:
        addresses = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise ConnectError(
            f"the host name {host!r} cannot be looked up: {error}; check it", field="host"
        ) from error
    failure: Optional[BaseException] = None
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        left = _left(deadline, host, port)
        if left is not None:
            left /= len(addresses) - number  # so that one that hangs leaves time for the others
        try:
            transport.attach(socket.socket(family, kind, protocol))
        except OSError as error:
            failure = error  # a kernel without IPv6
            continue
        try:
            _connect(transport, address, Deadline(left))
        except (OSError, Expired) as error:
            failure = error
            continue
        set_socket_options(transport.sock)
        return
    _left(deadline, host, port)
    raise ConnectError(
        f"nothing accepts connections at {host} port {port}: {failure}; check host and port, "
        "that Asterisk runs, and bindaddr, port and tlsenable in manager.conf",
        field="port",
    ) from failure


def _connect(transport: Transport, address: Tuple[Any, ...], deadline: Deadline) -> None:
    sock = transport.sock
    code = sock.connect_ex(address)
    if code in (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN):
        while not transport.wait(True, deadline.remaining()):
            pass  # woken for nothing
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def set_socket_options(sock: socket.socket) -> None:
    """Set what a connection to a manager needs, where the socket is one of TCP."""
    try:
        # Answers are small and each is waited for: the delay of Nagle's algorithm would be felt
        # with every message, and with TLS with every line.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except OSError:
        pass  # a socket of another kind, or a dead one, as its first use will show


def start_tls(
    transport: Transport, context: ssl.SSLContext, server_name: str, deadline: Deadline
) -> None:
    """Put TLS on a connected transport, and check the certificate.

    :raises TLSError: when there is no TLS, or the certificate is not trusted.
    :raises ConnectTimeout: when the deadline passes.
    :raises Closed: when another thread ends the transport.
    """
    import ssl

    try:
        # What fails here would leave a socket open in wrap_socket (Python before 3.12).
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
            f"{server_name} gave no answer to TLS in time; check that this is the TLS port"
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise TLSError(
            f"the certificate of {server_name} is not trusted: {error.verify_message}; give the "
            "file of its CA, or of the certificate itself, as tls="
        ) from error
    except (OSError, ValueError) as error:
        raise TLSError(
            f"no TLS with {server_name}: {error}; check tlsenable and tlsbindaddr in manager.conf, "
            "and that this is the TLS port"
        ) from error


def _do_handshake(transport: Transport, deadline: Deadline) -> None:
    import ssl

    sock = transport.sock
    assert isinstance(sock, ssl.SSLSocket)
    while True:
        left = deadline.next_wait()
        try:
            sock.do_handshake()
            return
        except ssl.SSLWantReadError:
            pass  # a hello is a few hundred bytes, for which a new socket has room
        transport.wait(False, left)


def _left(deadline: Deadline, host: str, port: int) -> Optional[float]:
    left = deadline.remaining()
    if left == 0.0:
        raise ConnectTimeout(f"no connection to {host} port {port} in time; check host and port")
    return left
