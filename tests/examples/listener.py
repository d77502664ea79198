"""Receive the events of a server for months, over its restarts."""

from __future__ import annotations

import logging
from time import sleep
from typing import Iterator, Optional, Union

from amiclient import AMIError, Client, Event, EventOverflow, NotConnected, NotSent, Response
from amiproto import UnknownMessage

logger = logging.getLogger(__name__)


def listen(
    client: Client, pause: float = 1.0
) -> Iterator[Optional[Union[Event, Response, UnknownMessage]]]:
    """Yield the events of a server, until another thread closes the client.

    None comes first, after each reconnect, and after dropped events: events may be missing then,
    so that the caller should query the current state with actions.

    :param client: a client with an event mask. Its ``health_check_interval`` and ``timeout`` limit
        the time until a server that has silently disappeared is noticed.
    :param pause: seconds before the next attempt to connect (float).
    :raises NotSent: if an attempt cannot succeed, for example because the secret is wrong.
    """
    while True:
        try:
            client.ping()  # connects if necessary
            yield None
            yield from client.events(timeout=None)
        except NotConnected:
            return
        except EventOverflow as error:
            logger.warning("%s", error)
        except AMIError as error:
            if isinstance(error, NotSent) and not error.retryable:
                raise
            logger.warning("%s", error)
            sleep(pause)
