"""Receive the messages of phones: the dialplan of ``receiving.conf`` sends each as an event.

The manager user needs ``read = user``. Open the client with ``events="user"``.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Iterator, Tuple

from amiclient import Client, Event

from .listener import listen


def incoming(client: Client) -> Iterator[Tuple[str, str, str]]:
    """Yield From, To and body of each message that a phone sends."""
    for event in listen(client):
        if isinstance(event, Event) and event.headers.get("UserEvent") == "MessageIn":
            from_, to, body = (
                b64decode(event.headers[name]).decode("utf-8", "replace")
                for name in ("From64", "To64", "Body64")
            )
            yield from_, to, body
