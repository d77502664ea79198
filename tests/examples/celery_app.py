"""A Celery task that sends a message at most once, even if its worker is killed.

The environment has the address of Redis in ``REDIS_URL`` and the servers in ``AMI_URLS``. Start
workers with ``celery -A tests.examples.celery_app worker``, and send with ``send.delay(to=...,
body=...)``. The result has the ``outcome`` of the message, ``retryable`` and ``error``, as JSON.

Redis gives a task to another worker if it has not ended after the visibility timeout: its worker
was killed, or is only slow. The first worker sets a marker in Redis before it sends, and the next
one does nothing if there is a marker. A killed worker leaves one of these states:

- ``SENDING``: it may have sent the message. The outcome is unknown, and it is not sent again.
- ``PENDING``: it had fetched the task from Redis and not recorded that yet. The task is lost, and
  :func:`settle` queues it again.
"""

from __future__ import annotations

import os
from time import time
from typing import Any, Dict, Mapping, Optional

from celery import Celery
from celery.exceptions import Ignore

from amiclient import AMIError, Client, MessageSend

from .failover import Failover

#: Seconds. It should be longer than a task takes, and than the countdown of a retry: a task that
#: has not ended by then is queued once more. The marker makes that harmless.
VISIBILITY_TIMEOUT = int(os.environ.get("VISIBILITY_TIMEOUT", 300))

#: Seconds. It must be longer than any task is queued.
MARKER_EXPIRES = 7 * 24 * 3600

app = Celery("messages", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(
    # A task stays in Redis until it has ended, so that it is not lost with its worker, or if only a
    # process of the pool is killed.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    # A worker reserves few tasks that others could start.
    worker_prefetch_multiplier=1,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    },
    broker_connection_retry_on_startup=True,
)

# Not connected yet: each worker process opens its own connections.
servers = Failover(*map(Client.from_url, os.environ["AMI_URLS"].split()))


@app.task(bind=True, max_retries=8)
def send(self: Any, **message: Any) -> Dict[str, Any]:
    """Send a message; the arguments are those of :class:`amiclient.MessageSend`."""
    # Recorded first: if the worker is killed after the next step, this state remains. It does not
    # replace the result of a task that is queued again after it has ended.
    meta = {"outcome": "unknown", "retryable": False, "since": time()}
    self.update_state(state="SENDING", meta=meta)
    marker = f"started {self.request.id}"
    if not app.backend.client.set(marker, 1, nx=True, ex=MARKER_EXPIRES):
        raise Ignore
    try:
        return servers.send(MessageSend(**message)).to_dict()
    except AMIError as error:
        if error.retryable and self.request.retries < self.max_retries:
            app.backend.client.delete(marker)
            raise self.retry(countdown=min(2**self.request.retries, 60))
        return error.to_dict()


def settle(task_id: str, message: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
    """Return the result of a task, or None if it has not ended; queue it again if it may be lost.

    Call it when the queue is empty, and again after the visibility timeout if the result is None.
    """
    meta = app.backend.get_task_meta(task_id)
    state, result = meta["status"], meta["result"]
    if state == "PENDING":
        send.apply_async(kwargs=message, task_id=task_id)
    if state == "SUCCESS" or state == "SENDING" and result["since"] + VISIBILITY_TIMEOUT < time():
        return dict(result)
    return None
