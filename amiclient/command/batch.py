"""Many messages: a line in, a line out with what became of it, in order and in flat memory.

What became of each line of a batch, written as a line that ``--retry`` reads.

How far a batch is, on a terminal, and what became of it all at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import closing, contextmanager
from typing import Any, Dict, Iterator, Optional, Set

from amiproto import AMIError, LocalProtocolError, MessageSend

from ..client import Client
from ..results import Receipt
from .options import NO_INPUT, OK, SIGNAL, CommandError, code_of, combine_exit_codes
from .records import Line, Source, read_csv, read_json, select_for_retry
from .send import show_bytes
from .signals import Signals, word
from .wording import sentence, with_option

#: Windows would change line ends.
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0)


class Batch:
    """The lines of a file that are to be sent: all of them, or those that may go again.

    :param options: the command line.
    :param descriptor: what is read from (int).
    :param interrupts: after a signal, no line is sent any more.
    """

    def __init__(self, options: argparse.Namespace, descriptor: int, interrupts: Signals) -> None:
        self._interrupts = interrupts
        self._is_retry = options.retry is not None
        self._quiet = options.quiet
        self._source = Source(descriptor, interrupts)
        is_csv = options.csv or str(options.batch).lower().endswith(".csv")
        read = read_csv if is_csv else read_json
        self._lines = read(self._source, _defaults(options))
        self._size = os.fstat(descriptor).st_size  # 0 for a pipe
        self._passed_over = 0
        self._ended = False

    def send(self, client: Client) -> int:
        """Connect, send every line, and write what became of each.

        :return: the exit code (int).
        :raises AMIError: when the set-up is wrong, and a later try no better; nothing is read then.
        :raises OSError: when standard output takes no more; nothing is sent after that.
        """
        broken: Optional[AMIError] = None
        try:
            client.connect()
        except AMIError as error:
            if not error.retryable:
                raise
            print(f"amisend: {with_option(error)}", file=sys.stderr)
            broken = error
        self._interrupts.note()
        progress = Progress(self._size, self._quiet)
        account = ResultWriter(progress)
        try:
            while broken is None:
                broken = self._send_what_is_there(client, account)
                if self._ended or self._interrupts.signum is not None:
                    break
                # Only here, with every result written, is there a wait for more input.
                self._source.wait()
            self._account_for_the_rest(account, broken)
        except BaseException:
            progress.clear()
            raise
        finally:
            client.close()
        progress.end(self._passed_over)
        signum = self._interrupts.signum
        if signum is None:
            return combine_exit_codes(account.codes)
        print(f"amisend: {word(signum)}", file=sys.stderr)
        return SIGNAL + signum

    def show(self) -> int:
        """Write the bytes that each line would send, and send nothing.

        :return: the exit code (int).
        """
        code = OK
        for line in self._chosen():
            try:
                show_bytes(MessageSend(**line))
            except LocalProtocolError as error:
                print(f"amisend: line {line.number}: {sentence(error)}", file=sys.stderr)
                code = code_of(error)
        return code

    def _send_what_is_there(self, client: Client, account: ResultWriter) -> Optional[AMIError]:
        """Send lines until there is none without a wait; gives the error that ended it all."""
        try:
            with closing(client.send_messages(self._ready())) as results:
                for result in results:
                    line, position = result.message, self._source.position
                    try:
                        account.write(line, result.receipt, result.error, position)
                    except OSError:
                        after = f"line {line.number} and those after it"
                        print(f"amisend: {after}: may have been sent", file=sys.stderr)
                        raise
        except AMIError as error:  # the connection has ended since the lines before
            return error
        return None

    def _ready(self) -> Iterator[Line]:
        while self._interrupts.signum is None and self._source.has_line():
            line = next(self._chosen(), None)
            if line is None:
                self._ended = True
                return
            yield line

    def _chosen(self) -> Iterator[Line]:
        for line in self._lines:
            wanted = select_for_retry(line) if self._is_retry else line
            if wanted is None:
                self._passed_over += 1
            else:
                yield wanted

    def _account_for_the_rest(self, account: ResultWriter, error: Optional[AMIError]) -> None:
        """Write every line that is left as one that was not sent."""
        from amiproto import NotSent

        for line in self._chosen():
            try:
                MessageSend(**line)
            except LocalProtocolError as refusal:
                account.write(line, None, refusal, self._source.position)
                continue
            if error is None:
                assert self._interrupts.signum is not None
                error = NotSent(f"the command was {word(self._interrupts.signum)}; send it again")
            account.write(line, None, error, self._source.position)


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[int]:
    """A block with the descriptor (int) of the file that holds the lines.

    :raises Problem: when it cannot be had.
    """
    path = options.batch if options.retry is None else options.retry
    if path == "-":
        if sys.stdin is None:
            raise CommandError(NO_INPUT, "standard input is closed; give --batch a file")
        yield sys.stdin.fileno()
        return
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        raise CommandError(NO_INPUT, str(error)) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _defaults(options: argparse.Namespace) -> Dict[str, Any]:
    found = {
        "body": options.body, "from_": options.from_, "variables": options.variable,
        "destination": options.destination,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


class ResultWriter:
    """Writes each line to standard output as it is, with what became of it.

    :param progress: what is told of each.
    """

    def __init__(self, progress: Progress) -> None:
        #: The exit codes of the lines so far.
        self.codes: Set[int] = set()
        self._progress = progress
        # ASCII, so that any text goes through any pipe.
        self._encode = json.JSONEncoder(allow_nan=False).encode

    def write(
        self, line: Line, receipt: Optional[Receipt], error: Optional[AMIError], position: int
    ) -> None:
        """Write a line with its receipt or its error.

        :param position: bytes of the input that were read so far (int).
        :raises OSError: when standard output takes no more.
        """
        text: Optional[str] = None
        retryable, code = False, OK
        if error is not None:
            retryable, code = error.retryable, code_of(error)
            text = f"line {line.number}: {type(error).__name__}: {sentence(error)}"
        told = receipt if error is None else error
        assert told is not None
        outcome, action_id = told.outcome, told.action_id
        fields = {
            **line.fields,
            "outcome": outcome, "retryable": retryable, "action_id": action_id, "error": text,
        }  # fmt: skip
        # At once, so that what was sent is told even if this process is killed.
        sys.stdout.write(self._encode(fields) + "\n")
        sys.stdout.flush()
        self.codes.add(code)
        self._progress.count(outcome, retryable, position)


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
