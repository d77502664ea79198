"""A Celery task that sends a message at most once, even if its worker is killed.

The environment has the address of Redis in ``REDIS_URL`` and the servers in ``AMI_URLS``. Start
workers with ``celery -A tests.examples.celery_app worker``, and send with ``send.delay(to=...,
body=...)``.

The result of a task has the ``outcome`` of the message, ``retryable`` and ``error``, as plain JSON.
The state ``SENDING`` of a task that never ends means that its worker was killed while it was
sending: the outcome is unknown.
"""

from __future__ import annotations

import os
from typing import Any, Dict

from celery import Celery
from celery.exceptions import Ignore

from amiclient import AMIError, Client, MessageSend

from .failover import send_by_any

app = Celery("messages", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(
    # A task whose worker was killed is queued again. If it had not started, it must not be lost;
    # if it had, the key that it has set in Redis keeps it from starting again.
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    # Queue such a task again after seconds; the default is an hour.
    broker_transport_options={
        "visibility_timeout": 5,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    },
    broker_connection_retry_on_startup=True,
)

# Not connected yet: each worker process opens its own connections.
clients = [Client.from_url(url) for url in os.environ["AMI_URLS"].split()]


@app.task(bind=True, max_retries=8)
def send(self: Any, **message: Any) -> Dict[str, Any]:
    """Send a message; the arguments are those of :class:`amiclient.MessageSend`."""
    # Recorded first: if the worker is killed after the next step, this state remains. It does not
    # replace the result of a task that is queued again after it has ended.
    self.update_state(state="SENDING", meta={"outcome": "unknown", "retryable": False})
    started = f"started {self.request.id}"
    if not app.backend.client.set(started, 1, nx=True):
        raise Ignore
    try:
        return send_by_any(MessageSend(**message), *clients).to_dict()
    except AMIError as error:
        if error.retryable and self.request.retries < self.max_retries:
            app.backend.client.delete(started)
            raise self.retry(countdown=2**self.request.retries)
        return error.to_dict()
