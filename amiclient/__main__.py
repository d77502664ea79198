"""The command ``amisend``, also ``python3 -m amiclient``: send messages from the shell."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from contextlib import contextmanager
from typing import Iterator, List, Optional

from amiproto import AMIError

from .command.options import (
    EX_IOERR,
    EX_SIGNAL,
    CommandError,
    describe_error,
    exit_code,
    is_batch,
    parse,
)
from .command.signals import Interrupted, Signals, describe_signal


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command.

    :param arguments: the command line without the name of the command (list of str); None for
        that of the process.
    :return: the exit code (int); ``--help`` lists them.
    """
    options = parse(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # print any text in any encoding
    try:
        with _verbose_logging(options.verbose), Signals() as signals:
            return _run(options, signals)
    except AMIError as error:
        print(f"amisend: {describe_error(error)}", file=sys.stderr)
        return exit_code(error)
    except CommandError as error:
        print(f"amisend: {error}", file=sys.stderr)
        return error.code
    except OSError as error:
        # Standard output is closed or full. Python must not try to flush it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"amisend: cannot write the result: {error}", file=sys.stderr)
        return EX_IOERR
    except Interrupted as interrupted:
        print(f"amisend: {describe_signal(interrupted.signum)}", file=sys.stderr)
        return EX_SIGNAL + interrupted.signum


def _run(options: argparse.Namespace, signals: Signals) -> int:
    # Imported here, so that --help is fast.
    from .command.config import open_client

    if is_batch(options):
        from .command.batch import Batch, open_input

        with open_input(options) as descriptor:
            batch = Batch(options, descriptor, signals)
            if options.dry_run:
                return batch.show()
            with open_client(options) as client:
                return batch.send(client)
    from .command.send import build_messages, send_to_all, show_messages

    recipients = build_messages(options)  # first, so that nothing is sent if one is invalid
    if options.dry_run:
        return show_messages(recipients)
    with open_client(options) as client:
        return send_to_all(client, recipients, options.quiet)


@contextmanager
def _verbose_logging(verbose: bool) -> Iterator[None]:
    """Log to standard error for the duration of the block, if verbose."""
    if not verbose:
        yield
        return
    logger = logging.getLogger("amiclient")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("amisend: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


if __name__ == "__main__":
    sys.exit(main())
