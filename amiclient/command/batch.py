"""A file of messages: one result per line of the input, in order, with constant memory."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import deque
from contextlib import closing, contextmanager
from typing import Deque, Dict, Iterator, Optional, Set, Tuple, Union

from amiproto import FAILED, NOT_SENT, AMIError, LocalProtocolError, MessageSend, NotSent

from ..client import Client
from ..results import ACCEPTED, Receipt
from .options import (
    EX_NOINPUT,
    EX_OK,
    EX_SIGNAL,
    CommandError,
    combine_exit_codes,
    describe_error,
    exit_code,
    message_arguments,
    one_line,
)
from .records import LineReader, Record, read_csv, read_json
from .send import show_message
from .signals import Signals, describe_signal

#: Windows would translate line ends.
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0)

#: Limit for the records that were read and have no result in the output yet.
_MAX_PENDING = 1024


@contextmanager
def open_input(options: argparse.Namespace) -> Iterator[int]:
    """Open the input file and yield its descriptor (int).

    :raises CommandError: if it cannot be opened.
    """
    path = options.batch if options.retry is None else options.retry
    if path == "-":
        if sys.stdin is None:
            raise CommandError(EX_NOINPUT, "standard input is closed; give a file")
        yield sys.stdin.fileno()
        return
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        raise CommandError(EX_NOINPUT, str(error)) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Batch:
    """The messages in a file: all of them, or with ``--retry`` the retryable ones.

    :param options: the command line.
    :param descriptor: the input (int).
    :param signals: after a signal, the remaining messages are not sent.
    """

    def __init__(self, options: argparse.Namespace, descriptor: int, signals: Signals) -> None:
        self._signals = signals
        self._quiet = options.quiet
        self._defaults = message_arguments(options)
        self._reader = LineReader(descriptor, signals)
        self._size = os.fstat(descriptor).st_size  # 0 for a pipe
        is_csv = options.csv or str(options.batch).lower().endswith(".csv")
        records = read_csv(self._reader) if is_csv else read_json(self._reader)
        self._records = records if options.retry is None else self._select_for_retry(records)
        self._skipped = 0
        self._ended = False
        #: Records without a result in the output yet, with the error of those that are invalid.
        self._pending: Deque[Tuple[Record, Optional[LocalProtocolError]]] = deque()

    def send(self, client: Client) -> int:
        """Connect, send every message, and write the result of each.

        :return: the exit code (int).
        :raises AMIError: if connecting fails and a retry cannot succeed; no input was read.
        :raises OSError: if a result cannot be written; nothing is sent after that.
        """
        error: Optional[AMIError] = None
        try:
            client.connect()
        except AMIError as failure:
            if not failure.retryable:
                raise
            print(f"amisend: {describe_error(failure)}", file=sys.stderr)
            error = failure
        self._signals.defer()
        progress = Progress(self._size, self._quiet)
        writer = ResultWriter(progress, self._reader)
        try:
            while error is None and not self._ended and self._signals.signum is None:
                if not self._reader.has_line():
                    self._reader.wait()  # with no message in flight and all results written
                error = self._send_available(client, writer)
            self._write_unsent(writer, error)
        except BaseException:
            progress.clear()
            raise
        finally:
            client.close()
        progress.finish(self._skipped)
        signum = self._signals.signum
        if signum is None:
            return combine_exit_codes(writer.codes)
        print(f"amisend: {describe_signal(signum)}", file=sys.stderr)
        return EX_SIGNAL + signum

    def show(self) -> int:
        """Print the exact bytes of each message, send nothing, and return the exit code (int)."""
        code = EX_OK
        for record in self._records:
            try:
                show_message(record.message(self._defaults))
            except LocalProtocolError as error:
                print(f"amisend: line {record.number}: {one_line(error)}", file=sys.stderr)
                code = exit_code(error)
        return code

    def _select_for_retry(self, records: Iterator[Record]) -> Iterator[Record]:
        """Yield the retryable records of an earlier output, and the invalid ones."""
        for record in records:
            fields = record.fields
            if record.problem:
                yield record
            elif "outcome" not in fields:  # reported, because skipping it could lose a message
                problem = "missing 'outcome': this is not a line of --batch output; use --batch"
                yield record._replace(problem=problem)
            elif fields["outcome"] in (NOT_SENT, FAILED) and fields.get("retryable") is True:
                yield record
            else:
                self._skipped += 1

    def _send_available(self, client: Client, writer: ResultWriter) -> Optional[AMIError]:
        """Send the lines that can be read without waiting.

        :return: the error if the connection has ended before the first of them, else None.
        """
        try:
            with closing(client.send_messages(self._messages())) as results:
                for result in results:
                    self._write_invalid(writer)
                    self._write_next(writer, result.receipt or result.error)
        except AMIError as error:
            return error
        except CommandError:  # the input cannot be read any further
            self._write_invalid(writer)
            raise
        self._write_invalid(writer)
        return None

    def _messages(self) -> Iterator[MessageSend]:
        """Yield the messages of the lines that can be read without waiting."""
        while self._signals.signum is None and self._reader.has_line():
            if len(self._pending) == _MAX_PENDING:  # a long run of invalid lines
                return
            record = next(self._records, None)
            if record is None:
                self._ended = True
                return
            try:
                message = record.message(self._defaults)
            except LocalProtocolError as error:
                self._pending.append((record, error))
            else:
                self._pending.append((record, None))
                yield message

    def _write_invalid(self, writer: ResultWriter) -> None:
        """Write the results of the invalid lines before the next message."""
        while self._pending and self._pending[0][1] is not None:
            self._write_next(writer, self._pending[0][1])

    def _write_next(self, writer: ResultWriter, result: Union[Receipt, AMIError, None]) -> None:
        assert result is not None
        record, _ = self._pending.popleft()
        try:
            writer.write(record, result)
        except OSError:
            lines = f"line {record.number} and the lines after it"
            print(f"amisend: {lines}: may have been sent", file=sys.stderr)
            raise

    def _write_unsent(self, writer: ResultWriter, error: Optional[AMIError]) -> None:
        """Write the results of the remaining lines, which are not sent.

        :param error: why the connection ended; None at the end of the input or after a signal.
        """
        for record in self._records:
            try:
                record.message(self._defaults)
            except LocalProtocolError as invalid:
                writer.write(record, invalid)
                continue
            if error is None:
                assert self._signals.signum is not None
                error = NotSent(f"the command was {describe_signal(self._signals.signum)}")
            writer.write(record, error)


class ResultWriter:
    """Writes each record to standard output, with its result added, as a line of JSON.

    :param progress: is updated with each result.
    :param reader: the input.
    """

    def __init__(self, progress: Progress, reader: LineReader) -> None:
        #: The exit codes of the results written.
        self.codes: Set[int] = set()
        self._progress = progress
        self._reader = reader
        # ASCII, which any terminal or pipe can carry.
        self._encode = json.JSONEncoder(allow_nan=False).encode

    def write(self, record: Record, result: Union[Receipt, AMIError]) -> None:
        """Write a record with its result.

        :raises OSError: if standard output is closed or full.
        """
        text: Optional[str] = None
        retryable, code = False, EX_OK
        if isinstance(result, AMIError):
            retryable, code = result.retryable, exit_code(result)
            text = f"line {record.number}: {type(result).__name__}: {one_line(result)}"
        fields = {
            **record.fields,
            "outcome": result.outcome,
            "retryable": retryable,
            "action_id": result.action_id,
            "error": text,
        }
        sys.stdout.write(self._encode(fields) + "\n")
        sys.stdout.flush()  # each result, so that none is lost if the process is killed
        self.codes.add(code)
        self._progress.count(result.outcome, retryable, self._reader.position)


#: Seconds between two updates of the progress on a terminal.
UPDATE_INTERVAL = 0.2


class Progress:
    """Counts results, and shows the progress on standard error if that is a terminal.

    :param size: bytes of the input (int), or 0 if not known.
    :param quiet: show nothing at all.
    """

    def __init__(self, size: int, quiet: bool) -> None:
        self._counts: Dict[str, int] = {}
        self._retryable = 0
        self._size = size
        self._quiet = quiet
        self._is_terminal = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._start = self._next_update = time.monotonic()
        self._is_shown = False

    def count(self, outcome: str, retryable: bool, position: int) -> None:
        """Count a result.

        :param position: bytes of the input that have been read (int).
        """
        self._counts[outcome] = self._counts.get(outcome, 0) + 1
        self._retryable += retryable
        if self._is_terminal:
            now = time.monotonic()
            if now >= self._next_update:
                self._next_update = now + UPDATE_INTERVAL
                self._show(now - self._start, position)

    def finish(self, skipped: int) -> None:
        """Print the summary.

        :param skipped: number of lines that ``--retry`` did not send (int).
        """
        self.clear()
        if self._quiet:
            return
        parts = [f"{count} {outcome}".replace("_", " ") for outcome, count in self._counts.items()]
        if self._retryable:
            parts.append(f"{self._retryable} retryable")
        if skipped:
            parts.append(f"{skipped} skipped")
        total = sum(self._counts.values())
        lines = "line" if total == 1 else "lines"
        results = ", ".join(parts) or "nothing to send"
        rate = _rate(total, time.monotonic() - self._start)
        print(f"amisend: {total} {lines}: {results} ({rate})", file=sys.stderr)

    def clear(self) -> None:
        """Erase the progress from the terminal."""
        if self._is_shown:
            self._is_shown = False
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _show(self, elapsed: float, position: int) -> None:
        accepted = self._counts.get(ACCEPTED, 0)
        total = sum(self._counts.values())
        text = f"{accepted} accepted, {total - accepted} errors, {_rate(total, elapsed)}"
        if self._size and position:
            remaining = int(elapsed * (self._size - position) / position)
            text += f", {remaining // 60}:{remaining % 60:02d} remaining"
        self._is_shown = True
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _rate(count: int, seconds: float) -> str:
    return f"{count / max(seconds, 1e-6):.0f}/s"
