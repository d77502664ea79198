"""A file of messages: one result per line of the input, in order, with constant memory."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter, deque
from contextlib import closing
from io import FileIO
from itertools import chain, islice
from stat import S_ISREG
from typing import Deque, Iterator, NamedTuple, Optional, Set, Tuple, Union

from amiproto import FAILED, NOT_SENT, UNKNOWN, AMIError, LocalProtocolError, MessageSend, NotSent

from ..client import Client
from ..exceptions import OutcomeUnknown
from ..results import ACCEPTED, Receipt
from .options import CommandError, Exit, describe_error, exit_code, report, worst_code, write_out
from .records import LineReader, Record, read_records
from .send import show_message
from .signals import Signals

#: Limit for the records that were read and have no result in the output yet: those that may have
#: been sent before a SIGKILL. It is also the window of send_messages().
_MAX_PENDING = 32

#: The exit codes for lines that ``--retry`` does not send again.
_KEPT_CODES = {ACCEPTED: 0, NOT_SENT: Exit.DATAERR, FAILED: Exit.UNAVAILABLE, UNKNOWN: Exit.IOERR}


class _Line(NamedTuple):
    """A line of the output, and its part in the summary."""

    text: str
    outcome: str
    code: int
    reason: str
    is_retryable: bool


def open_input(options: argparse.Namespace) -> FileIO:
    """Return the input file.

    :raises CommandError: if it cannot be opened, or is also the output.
    """
    path = options.batch if options.retry is None else options.retry
    if path == "-" and sys.stdin is None:
        raise CommandError(Exit.NOINPUT, "standard input is closed; give a file")
    try:
        file = FileIO(sys.stdin.fileno(), closefd=False) if path == "-" else FileIO(path)
    except OSError as error:
        raise CommandError(Exit.NOINPUT, str(error)) from error
    status = os.fstat(file.fileno())
    if S_ISREG(status.st_mode) and os.path.samestat(status, os.fstat(1)):
        file.close()
        # Every result would be read as one more line.
        raise CommandError(Exit.USAGE, "the input is also the output; use another file")
    return file


class Batch:
    """The messages in a file: all of them, or with ``--retry`` the retryable ones."""

    def __init__(self, options: argparse.Namespace, file: FileIO, signals: Signals) -> None:
        self._signals = signals
        self._options = options
        self._is_retry = options.retry is not None
        self._count = options.skip  # of lines that were skipped or written
        self._reader = LineReader(file, signals)
        self._records = islice(read_records(self._reader, self._is_retry), options.skip, None)
        self._ended = False
        #: Why nothing more can be sent, or None.
        self._error: Optional[AMIError] = None
        #: The records without a line in the output, and the line if it is known.
        self._pending: Deque[Tuple[Record, Union[MessageSend, _Line]]] = deque()
        self._outcomes: Counter[str] = Counter()
        self._codes: Set[int] = set()
        self._reason = ""
        self._retryable = 0
        # ASCII, which any terminal or pipe can carry.
        self._encode = json.JSONEncoder(allow_nan=False).encode

    def send(self, client: Client) -> int:
        """Send every message and write the result of each to standard output, as JSON.

        :return: the exit code (int).
        :raises CommandError: if the input cannot be read any further.
        :raises OSError: if a result cannot be written.
        """
        self._signals.raises = False
        start = time.monotonic()
        try:
            while not self._ended:
                self._reader.fill(wait=True)  # with no message in flight and all results written
                if self._signals.signum is not None:
                    self._error = NotSent(f"received {self._signals.name}")
                messages = self._messages()
                for first in islice(messages, 1):  # without a message, no connection is needed
                    self._send(client, chain([first], messages))
        except OSError as error:
            count = len(self._pending) + 1
            text = f"{error}; up to {count} more messages may have been sent"
            raise OSError(f"{text}; --skip {self._count + count} continues after them") from error
        if self._is_retry and not self._count:
            raise CommandError(Exit.NOINPUT, "the file of --retry is empty")
        self._report_summary(time.monotonic() - start)
        return worst_code(self._codes)

    def show(self) -> int:
        """Print the exact bytes of each message, send nothing, and return the exit code (int)."""
        for record in self._records:
            parsed = self._parse(record)
            if isinstance(parsed, MessageSend):
                show_message(parsed)
            elif parsed.reason:
                report(parsed.reason)
                self._codes.add(parsed.code)
        return worst_code(self._codes)

    def _send(self, client: Client, messages: Iterator[MessageSend]) -> None:
        """Send messages and write their results; if connecting fails, the error is the result."""
        error = self._error
        if error is None:
            try:
                self._signals.connect(client)
                with closing(client.send_messages(messages, window=_MAX_PENDING)) as results:
                    for result in results:
                        self._complete(result.receipt or result.error)
                return
            except AMIError as failure:  # no message was read
                error = failure
                if not error.retryable:
                    self._error = error
        for _ in messages:
            self._complete(error, is_retryable=True)  # the message is not the reason

    def _messages(self) -> Iterator[MessageSend]:
        """Yield the messages of the lines that can be read without waiting."""
        while self._reader.fill(wait=False) and len(self._pending) < _MAX_PENDING:
            if self._error is None and self._signals.signum is not None:
                return
            record = next(self._records, None)
            if record is None:
                self._ended = True
                return
            parsed = self._parse(record)
            self._pending.append((record, parsed))
            if isinstance(parsed, MessageSend):
                yield parsed
            self._write_known()

    def _parse(self, record: Record) -> Union[MessageSend, _Line]:
        """Return the message of a record, or the line of one that is not sent."""
        try:
            kept = _kept_line(record) if self._is_retry else None
            return kept or record.message(self._options.message)
        except (LocalProtocolError, OutcomeUnknown) as error:
            return self._result_line(record, error)

    def _complete(self, result: Union[Receipt, AMIError, None], is_retryable: bool = False) -> None:
        """Write the result of the oldest pending message."""
        assert result is not None
        record, _ = self._pending[0]
        self._pending[0] = record, self._result_line(record, result, is_retryable)
        self._write_known()

    def _result_line(
        self, record: Record, result: Union[Receipt, AMIError], is_retryable: bool = False
    ) -> _Line:
        code, reason = Exit.OK, ""
        if isinstance(result, AMIError):
            code = exit_code(result)
            is_retryable = is_retryable or result.retryable
            # The options that describe_error() names did not give the message.
            is_local = isinstance(result, LocalProtocolError)
            reason = str(result) if is_local else describe_error(result, self._options.sources)
            reason = f"line {record.number}: {reason}"
        fields = {
            **record.fields,
            "outcome": result.outcome,
            "retryable": is_retryable,
            "action_id": result.action_id,
            "error": reason or None,
        }
        return _Line(self._encode(fields), result.outcome, code, reason, is_retryable)

    def _write_known(self) -> None:
        while self._pending:
            line = self._pending[0][1]
            if isinstance(line, MessageSend):
                return
            self._pending.popleft()
            # Each at once, so that none is lost if the process is killed.
            write_out(line.text.encode() + b"\n")
            self._count += 1
            self._outcomes[line.outcome] += 1
            self._codes.add(line.code)
            self._reason = self._reason or line.reason
            self._retryable += line.is_retryable

    def _report_summary(self, seconds: float) -> None:
        if self._options.quiet and self._codes <= {Exit.OK} and self._signals.signum is None:
            return
        total = sum(self._outcomes.values())
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self._outcomes.items())
        text = f"{total} {'line' if total == 1 else 'lines'}: {counts or 'nothing to send'}"
        text = text.replace("_", " ")
        if self._outcomes[ACCEPTED]:
            text += f" ({self._outcomes[ACCEPTED] / max(seconds, 1e-6):.0f}/s)"
        if self._reason:
            text += f"; {self._reason}"
        if self._retryable:
            text += f"; amisend --retry OUTPUT sends {self._retryable} again"
        if self._signals.signum is not None:
            text += f"; received {self._signals.name}"
        if self._reader.is_cut:
            text += f"; --skip {self._count} continues"
        report(text)


def _kept_line(record: Record) -> Optional[_Line]:
    """Return the line if ``--retry`` does not send it again, else None.

    :raises OutcomeUnknown, LocalProtocolError: if it is not a line of the output of a batch.
    """
    if record.problem:  # such as a line that was cut off when the disk was full
        raise OutcomeUnknown(f"{record.problem}; the message may have been sent")
    outcome, retryable = (record.fields.get(key) for key in ("outcome", "retryable"))
    if outcome not in tuple(_KEPT_CODES):
        raise LocalProtocolError("this is not a line of the output of --batch; use --batch")
    if retryable is True and outcome in (NOT_SENT, FAILED):
        return None
    reason = str(record.fields.get("error")) if outcome != ACCEPTED else ""
    return _Line(record.text.rstrip("\r\n"), "unchanged", _KEPT_CODES[outcome], reason, False)
