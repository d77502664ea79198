"""Send a message through the first of several servers that accepts it."""

from __future__ import annotations

from amiclient import AMIError, Client, MessageSend, NotSent, Receipt


def send_by_any(message: MessageSend, *clients: Client) -> Receipt:
    """Send a message through the first server that accepts it.

    The next server is tried only if the message was certainly not sent and the error is not
    permanent, so that no message is sent twice.

    :raises AMIError: if no server accepted the message. If ``retryable``, send it again later.
    """
    error: AMIError = NotSent("no client was given")
    for client in clients:
        try:
            if not client.connected:
                client.connect()
            return client.send(message)
        except AMIError as caught:
            if not caught.retryable:
                raise
            error = caught
    raise error
