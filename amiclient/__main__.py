"""The command ``amisend``, also ``python3 -m amiclient``: send messages from the shell."""

from __future__ import annotations

import argparse
import io
import logging
import sys
from typing import List, Optional

from amiproto import AMIError

from .command.options import CommandError, Exit, describe_error, exit_code, parse, report
from .command.signals import Signals


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command with arguments as for :func:`parse`, and return the exit code (int)."""
    options = parse(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # print any text in any encoding
    logger = logging.getLogger("amiclient")
    handler = _LogHandler(logging.DEBUG if options.verbose else logging.CRITICAL)
    old_level = logger.level
    logger.addHandler(handler)
    logger.setLevel(handler.level)
    code = Exit.OK
    with Signals() as signals:
        try:
            if sys.stdout is None:
                raise CommandError(Exit.IOERR, "standard output is closed; nothing was sent")
            code = _run(options, signals)
            sys.stdout.flush()
        except AMIError as error:
            report(describe_error(error, options.sources))
            code = exit_code(error)
        except CommandError as error:
            code, text = error.args
            report(text)
        except OSError as error:
            report(f"cannot write the result: {error}")
            sys.stdout = io.StringIO()  # Python flushes it at exit, or else fails with 120
            code = Exit.IOERR
        except KeyboardInterrupt:
            report(f"received {signals.name}; nothing was sent")
    logger.removeHandler(handler)
    logger.setLevel(old_level)
    return code if signals.signum is None else Exit.SIGNAL + signals.signum


def _run(options: argparse.Namespace, signals: Signals) -> int:
    # Imported here, so that --help is fast.
    from .command.config import Settings, open_client

    settings = Settings(options)
    if options.is_batch:
        from .command.batch import Batch, open_input

        with open_input(options) as file:
            batch = Batch(options, file, signals)
            if options.dry_run:
                return batch.show()
            with open_client(options, settings) as client:
                return batch.send(client)
    from .command.send import build_messages, check, send_to_all, show_message

    if options.dry_run:
        for message in sum(build_messages(options), []):
            show_message(message)
        return Exit.OK
    with open_client(options, settings) as client:  # asks for a missing secret, before the text
        run = check if options.check else send_to_all
        return run(client, options, signals)


class _LogHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        report(record.getMessage())


if __name__ == "__main__":
    sys.exit(main())
