"""How far a batch is, on a terminal, and what became of it all at the end."""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict

#: Seconds between two looks at a terminal: more often than anybody reads.
_PAUSE = 0.2


class Progress:
    """Counts outcomes, and shows them on standard error where that is a terminal.

    :param size: bytes of the whole input (int), or 0 where that is not known.
    :param quiet: show nothing at all.
    """

    def __init__(self, size: int, quiet: bool) -> None:
        #: How many lines ended so: by their outcome (dict of int).
        self.counts: Dict[str, int] = {}
        #: How many of those that were not accepted may go again (int).
        self.retryable = 0
        self._size = size
        self._quiet = quiet
        self._shows = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._start = self._next = time.monotonic()
        self._shown = False

    def count(self, outcome: str, retryable: bool, position: int) -> None:
        """Take note of a line.

        :param position: bytes of the input that were read so far (int).
        """
        self.counts[outcome] = self.counts.get(outcome, 0) + 1
        self.retryable += retryable
        if self._shows:
            now = time.monotonic()
            if now >= self._next:
                self._next = now + _PAUSE
                self._show(now - self._start, position)

    def end(self, passed_over: int) -> None:
        """Say what became of all.

        :param passed_over: lines of an earlier account that were none to send again (int).
        """
        self.clear()
        if self._quiet:
            return
        parts = [f"{number} {outcome}" for outcome, number in self.counts.items()]
        if self.retryable:
            parts.append(f"{self.retryable} may go again")
        if passed_over:
            parts.append(f"{passed_over} passed over")
        total = sum(self.counts.values())
        rate = total / max(time.monotonic() - self._start, 1e-6)
        lines = "line" if total == 1 else "lines"
        told = ", ".join(parts) or "nothing to send"
        print(f"amisend: {total} {lines}: {told} ({rate:.0f} a second)", file=sys.stderr)

    def clear(self) -> None:
        """Take the line of progress away, so that something else can be said."""
        if self._shown:
            self._shown = False
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _show(self, elapsed: float, position: int) -> None:
        sent = self.counts.get("accepted", 0)
        total = sum(self.counts.values())
        rate = total / max(elapsed, 1e-6)
        text = f"{sent} sent, {total - sent} failed, {rate:.0f} a second"
        if self._size and position:
            left = int(elapsed * (self._size - position) / position)
            text += f", {left // 60}:{left % 60:02d} left"
        self._shown = True
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
