"""A web application (WSGI, as Flask and Django are) whose threads share one client.

``POST`` a message as JSON, such as ``{"to": "pjsip:alice", "body": "Dinner is ready"}``.

The client connects when the first request needs it, and again after the server was restarted. It
may be created before the web server forks: each process has a connection of its own.

The calls of a shared client are carried out one at a time: 50 messages take a second if the
network takes 10 ms each way, whatever the number of threads. If that is too slow, use a client for
each thread (``threading.local``), which costs a connection for each, or queue the messages and send
them with ``send_messages`` in one thread.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, Iterable

from amiclient import AMIError, Client, LocalProtocolError, MessageSend

#: The HTTP status for each outcome. The caller may repeat a request after 503, but not after 504.
STATUS = {
    "accepted": "202 Accepted",
    "not_sent": "503 Service Unavailable",
    "failed": "502 Bad Gateway",
    "unknown": "504 Gateway Timeout",
}


def create_app(client: Client) -> Callable[..., Iterable[bytes]]:
    """Return the application; the client need not be connected."""

    def app(environ: Dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            fields = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            result = client.send(MessageSend(**fields)).to_dict()
            status = STATUS["accepted"]
        except LocalProtocolError as error:
            result, status = error.to_dict(), "422 Unprocessable Content"
        except AMIError as error:
            result, status = error.to_dict(), STATUS[error.outcome]
        except (KeyError, TypeError, ValueError) as error:
            result, status = {"error": str(error)}, "400 Bad Request"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(result).encode()]

    return app
