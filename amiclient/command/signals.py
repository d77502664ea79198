"""SIGHUP, SIGINT and SIGTERM: nothing more is sent, and messages in flight are awaited."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, Dict, Optional

from amiproto import NotSent

from ..client import Client


class Signals:
    """A context manager that records the first of the signals; later ones have no effect.

    Up to :meth:`defer`, and during :meth:`connect`, the first one raises KeyboardInterrupt. A
    signal that is ignored, as under ``nohup`` or in the background of a shell, stays ignored.
    """

    def __init__(self) -> None:
        #: The first signal received (int), or None.
        self.signum: Optional[int] = None
        self._raises = True
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

    def defer(self) -> None:
        """From now on only record a signal."""
        self._raises = False

    def connect(self, client: Client) -> None:
        """Connect a client unless it is connected; a signal ends the attempt.

        :raises NotSent: if the client cannot connect, or after a signal.
        """
        try:
            try:
                self._raises = True
                if self.signum is None and not client.connected:
                    client.connect()
            finally:
                self._raises = False
        except (
            KeyboardInterrupt
        ):  # once at most, and nowhere below: the handler clears _raises first
            pass
        if self.signum is not None:
            raise NotSent(f"the command received {self.name}")

    @property
    def name(self) -> str:
        """The name of the signal received, such as ``"SIGINT"``."""
        return signal.Signals(self.signum or 0).name

    def _handle(self, signum: int, frame: Optional[FrameType]) -> None:
        if self.signum is None:
            self.signum = signum
        if self._raises:
            self._raises = False
            raise KeyboardInterrupt
