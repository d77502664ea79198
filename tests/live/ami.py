"""A bare AMI connection for live tests, which does not use the codec under test."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import Dict, Iterator, List

from tests.live.asterisk import AsteriskServer

TIMEOUT = 30.0


class RawAMI:
    """An AMI connection over a socket; reads the banner when it is created."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.stream = connection.makefile("rb")
        self.banner = self.stream.readline()

    def send(self, *lines: bytes) -> None:
        """Send lines and the blank line after them."""
        self.socket.sendall(b"".join(line + b"\r\n" for line in (*lines, b"")))

    def read_stanza(self) -> bytes:
        """Return the next stanza, including its blank line."""
        lines: List[bytes] = []
        while lines[-1:] != [b"\r\n"]:
            lines.append(self.stream.readline())
            assert lines[-1], "end of stream"
        return b"".join(lines)

    def read_headers(self) -> Dict[bytes, bytes]:
        """Return the headers of the next stanza; the last one of a name counts."""
        headers = {}
        for line in self.read_stanza().split(b"\r\n")[:-2]:
            name, _, value = line.partition(b":")
            headers[name] = value.strip()
        return headers

    def ask(self, *lines: bytes) -> Dict[bytes, bytes]:
        """Send an action, and return the headers of the next response."""
        self.send(*lines)
        while True:
            headers = self.read_headers()
            if b"Response" in headers:
                return headers

    def login(self, server: AsteriskServer, user: str) -> None:
        """Log in as one of the server's users, with events off."""
        response = self.ask(
            b"Action: Login",
            b"Username: " + user.encode(),
            b"Secret: " + server.users[user].encode(),
            b"Events: off",
        )
        assert response[b"Response"] == b"Success", response


@contextmanager
def connected(host: str, port: int) -> Iterator[RawAMI]:
    """Open a connection, and close it at the end of the block."""
    with socket.create_connection((host, port), TIMEOUT) as connection:
        ami = RawAMI(connection)
        with ami.stream:
            yield ami


@contextmanager
def logged_in(server: AsteriskServer, user: str = "messenger") -> Iterator[RawAMI]:
    """Open a connection of a server's user, and close it at the end of the block."""
    with connected(server.host, server.port) as ami:
        ami.login(server, user)
        yield ami
