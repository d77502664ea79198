"""A proxy between an AMI client and a server that can log and change every message."""

from __future__ import annotations

import select
import socket
from typing import Callable

from amiproto import NEED_DATA, Connection, EndOfStream, Message, Role


def serve(
    client: socket.socket, server: socket.socket, change: Callable[[Message], Message]
) -> None:
    """Relay messages between two connected sockets until one of them is closed.

    :param change: a function that returns the message to send instead of the one received.
    """
    to_client, to_server = Connection(Role.SERVER), Connection(Role.CLIENT)
    while True:
        for source in select.select([client, server], [], [])[0]:
            data = source.recv(65536)
            if not data:
                return
            if source is client:
                server.sendall(relay(data, to_client, to_server, change))
            else:
                client.sendall(relay(data, to_server, to_client, change))


def relay(
    data: bytes, source: Connection, sink: Connection, change: Callable[[Message], Message]
) -> bytes:
    """Parse bytes received from one side, and return the bytes to send to the other."""
    source.receive_data(data)
    output = b""
    while True:
        event = source.next_event()
        if event is NEED_DATA or isinstance(event, EndOfStream):
            return output
        output += sink.send(change(event))
