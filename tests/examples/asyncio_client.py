"""Send a message with asyncio and the codec, without the blocking client.

Limit the time of the call with ``asyncio.wait_for(send(...), timeout=10)``.
"""

from __future__ import annotations

import asyncio
import os

from amiproto import NEED_DATA, ActionResult, EndOfStream, LoggedIn, MessageSend, Session


async def send(
    host: str, port: int, username: str, secret: str, message: MessageSend
) -> ActionResult:
    """Connect, log in, send one message, and return the result.

    :raises ConnectionError: if the connection ends. The message may have been sent if it happens
        after the login.
    """
    reader, writer = await asyncio.open_connection(host, port)
    session = Session(username, secret, entropy=os.urandom(16))
    try:
        while True:
            event = session.next_event()
            writer.write(session.data_to_send())
            if event is NEED_DATA:
                data = await reader.read(65536)
                if data:
                    session.receive_data(data)
                else:
                    session.receive_eof()
            elif isinstance(event, LoggedIn):
                writer.write(session.send(message).wire)
            elif isinstance(event, ActionResult):
                return event
            elif isinstance(event, EndOfStream):
                raise ConnectionError("the server closed the connection")
    finally:
        writer.close()
