"""A Celery app that sends messages: JSON alone, and each task ends with what became of its own.

Run by ``test_celery.py`` in a worker of its own; what it needs is in the environment.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List

from celery import Celery  # type: ignore[import-not-found,import-untyped,unused-ignore]
from celery.exceptions import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    Ignore,
)

from amiclient import AMIError, Client
from amiclient.loopback import SECRET, USERNAME

REDIS = os.environ.get("AMICLIENT_TEST_REDIS", "redis://127.0.0.1:1/0")

app = Celery("tests.client.celery_app", broker=REDIS, backend=REDIS)
app.conf.update(
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=1,
    # A task of a worker that was killed comes a second time: one that was not begun must not be
    # lost, and one that was begun is not begun anew.
    task_acks_late=True,
    # After some seconds, and not after the minutes or hours that are usual.
    broker_transport_options={
        "visibility_timeout": 5,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    },
    broker_connection_retry_on_startup=True,
)


@app.task(bind=True)  # type: ignore[untyped-decorator,unused-ignore]
def deliver(self: Any, to: str, body: str, ports: List[int]) -> Dict[str, Any]:
    """Send through the first server that takes it; never a second time what may have left."""
    # Told before anything is sent: it stands where the worker dies in the middle. A task that has
    # its result keeps that.
    self.update_state(state="SENDING", meta={"outcome": "unknown", "retryable": False})
    if not app.backend.client.set(f"begun {self.request.id}", 1, nx=True):
        raise Ignore
    told: Dict[str, Any] = {}
    for port in ports:
        try:
            client = Client(port=port, username=USERNAME, secret=SECRET, timeout=5.0)
            with client:
                return client.send_message(to, body).to_dict()
        except AMIError as error:
            told = error.to_dict()
            if not error.retryable:
                break
    return told
