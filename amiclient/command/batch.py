"""Many messages: a line in, a line out with what became of it, in order and in flat memory."""

from __future__ import annotations

import os
import sys
from contextlib import closing, contextmanager

from amiproto import AMIError, LocalProtocolError, MessageSend

from .account import Account
from .dry_run import show
from .exits import NO_INPUT, OK, SIGNAL, Problem, code_of, worst
from .interrupts import word
from .lines import again, read_csv, read_json
from .progress import Progress
from .source import Source
from .wording import sentence, with_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, Dict, Iterator, Optional

    from ..client import Client
    from .interrupts import Interrupts
    from .lines import Line

#: Windows would change line ends.
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0)


class Batch:
    """The lines of a file that are to be sent: all of them, or those that may go again.

    :param options: the command line.
    :param descriptor: what is read from (int).
    :param interrupts: after a signal, no line is sent any more.
    """

    def __init__(
        self, options: argparse.Namespace, descriptor: int, interrupts: Interrupts
    ) -> None:
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
        account = Account(progress)
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
            return worst(account.codes)
        print(f"amisend: {word(signum)}", file=sys.stderr)
        return SIGNAL + signum

    def show(self) -> int:
        """Write the bytes that each line would send, and send nothing.

        :return: the exit code (int).
        """
        code = OK
        for line in self._chosen():
            try:
                show(MessageSend(**line))
            except LocalProtocolError as error:
                print(f"amisend: line {line.number}: {sentence(error)}", file=sys.stderr)
                code = code_of(error)
        return code

    def _send_what_is_there(self, client: Client, account: Account) -> Optional[AMIError]:
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
            wanted = again(line) if self._is_retry else line
            if wanted is None:
                self._passed_over += 1
            else:
                yield wanted

    def _account_for_the_rest(self, account: Account, error: Optional[AMIError]) -> None:
        """Write every line that is left as one that was not sent."""
        from ..errors import NotSent

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
            raise Problem(NO_INPUT, "standard input is closed; give --batch a file")
        yield sys.stdin.fileno()
        return
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        raise Problem(NO_INPUT, str(error)) from error
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
