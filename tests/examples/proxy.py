"""A proxy between AMI clients and a server that can log and change every message.

Run it with ``asyncio.start_server(Proxy(host, port, change).serve, ...)``. Plain TCP only.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import StreamReader, StreamWriter
from secrets import token_hex
from typing import Callable, Dict, Iterator, Optional, Set

from amiproto import (
    Action,
    AMIError,
    Connection,
    InvalidAction,
    LocalProtocolError,
    Message,
    Response,
    Role,
)

logger = logging.getLogger(__name__)

Change = Callable[[Message], Message]


class Proxy:
    """Relays the messages of each client until the server ends the connection.

    :param change: a function that returns the message to send instead of the one received. If it
        raises LocalProtocolError for an action, the client gets an error response.
    """

    def __init__(self, host: str, port: int, change: Change) -> None:
        self._host, self._port, self._change = host, port, change
        # asyncio itself does not keep the task of a connection that the client has half-closed.
        self._tasks: Set[Optional["asyncio.Task[None]"]] = set()

    async def serve(self, client: StreamReader, to_client: StreamWriter) -> None:
        """Serve one client: the callback for :func:`asyncio.start_server`."""
        self._tasks.add(asyncio.current_task())
        writers = [to_client]
        try:
            server, to_server = await asyncio.open_connection(self._host, self._port)
            writers.append(to_server)
            relay = Relay(self._change)
            # Some clients write before the banner. That stays in the socket until it has passed.
            to_client.write(relay.to_client(await server.readline()))
            await asyncio.gather(
                # After a client's half-close, the server still responds to what was sent before.
                pump(client, relay.to_server, to_server, to_server.write_eof),
                pump(server, relay.to_client, to_client, to_client.close),
            )
        except (OSError, AMIError) as error:
            logger.warning("%s", error)
        finally:
            for writer in writers:
                writer.close()
            self._tasks.discard(asyncio.current_task())


async def pump(
    source: StreamReader,
    relay: Callable[[bytes], bytes],
    sink: StreamWriter,
    end: Callable[[], None],
) -> None:
    """Relay one direction. A sink that reads slowly slows down the source."""
    while True:
        data = await source.read(65536)
        if not data:
            return end()
        sink.write(relay(data))
        await sink.drain()


class Relay:
    """The messages of one client, without I/O: converts received bytes to bytes for the other."""

    def __init__(self, change: Change) -> None:
        self._change = change
        self._client, self._server = Connection(Role.SERVER), Connection(Role.CLIENT)
        #: Error responses by the ActionID of the Ping that was sent instead of the action.
        self._errors: Dict[str, Response] = {}

    def to_server(self, data: bytes) -> bytes:
        return b"".join([self._request(action) for action in _messages(self._client, data)])

    def to_client(self, data: bytes) -> bytes:
        return b"".join([self._reply(message) for message in _messages(self._server, data)])

    def _request(self, action: Message) -> bytes:
        try:
            changed = self._change(action)
            if not isinstance(changed, InvalidAction):
                return self._server.send(changed)
            reason = changed.reason
        except LocalProtocolError as error:
            reason = str(error)
        # Responses keep their order: the error replaces the response to a Ping.
        ping_id = token_hex(16)
        # From bytes, because the server echoes an ActionID that a new response could not have.
        action_id = f"ActionID: {action.action_id}\r\n" if action.action_id else ""
        wire = f"Response: Error\r\n{action_id}Message: {reason}\r\n\r\n"
        self._errors[ping_id] = Response.from_wire(wire.encode("utf-8", "surrogateescape"))
        return self._server.send(Action("Ping", action_id=ping_id))

    def _reply(self, message: Message) -> bytes:
        error = self._errors.pop(message.action_id or "", None)
        return self._client.send(error or self._change(message))


def _messages(connection: Connection, data: bytes) -> Iterator[Message]:
    connection.receive_data(data)
    while True:
        event = connection.next_event()
        if not isinstance(event, Message):
            return
        yield event
