"""SIGHUP, SIGINT and SIGTERM: nothing more is sent, and messages in flight are awaited."""

from __future__ import annotations

import signal
from math import inf
from time import monotonic
from types import FrameType
from typing import Any, Dict, Optional

from amiproto import AMIError, NotSent

from ..client import Client


class Signals:
    """A context manager that records the first of the signals; later ones have no effect.

    A signal that is ignored, as under ``nohup`` or in the background of a shell, stays ignored.
    """

    def __init__(self) -> None:
        #: The first signal received (int), or None.
        self.signum: Optional[int] = None
        #: Its name, such as ``"SIGINT"``; empty before.
        self.name = ""
        #: When it was received, by time.monotonic().
        self.time = inf
        #: Whether the first one raises KeyboardInterrupt, as it always does during connect().
        self.raises = True
        self._old_handlers: Dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for name in ("SIGHUP", "SIGINT", "SIGTERM"):  # not every system has SIGHUP
            signum = getattr(signal, name, None)
            if signum is not None and signal.getsignal(signum) is not signal.SIG_IGN:
                self._old_handlers[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.signum is None:  # else the process ends, and more signals must not disturb it
            for signum, handler in self._old_handlers.items():
                signal.signal(signum, handler)

    def connect(self, client: Client) -> None:
        """Connect a client unless it is connected; a signal ends the attempt.

        :raises NotSent: if the client cannot connect, or after a signal.
        """
        try:
            try:
                self.raises = True
                if self.signum is None and not client.connected:
                    client.connect()
            finally:
                self.raises = False
        except KeyboardInterrupt:
            pass  # not again: the handler has cleared raises
        except AMIError:
            raise
        except OSError as error:  # such as no descriptor left for a module that is imported here
            raise NotSent(f"cannot connect: {error}") from error
        if self.signum is not None:
            raise NotSent(f"the command received {self.name}")

    def _handle(self, signum: int, frame: Optional[FrameType]) -> None:
        if self.signum is None:
            self.signum, self.name, self.time = signum, signal.Signals(signum).name, monotonic()
        if self.raises:
            self.raises = False
            raise KeyboardInterrupt
