"""The command ``amisend``, also ``python3 -m amiclient``: messages from the shell."""

from __future__ import annotations

import argparse
import io
import os
import sys
from contextlib import contextmanager
from functools import partial
from typing import Callable, Iterator, List, Optional

from .client import Client
from .command import options as exits
from .command.options import parse
from .command.signals import Signals


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command.

    :param arguments: the command line without the name of the command (list of str); None for
        that of the process.
    :return: the exit code (int), as ``--help`` lists them.
    """
    options = parse(arguments)
    from amiproto import AMIError

    from .command.signals import Interrupted, Signals, word
    from .command.wording import with_option

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # any text can be shown
    try:
        with _verbose_logging(options.verbose), Signals() as interrupts:
            return _run(options, interrupts)
    except AMIError as error:
        print(f"amisend: {with_option(error)}", file=sys.stderr)
        return exits.code_of(error)
    except exits.CommandError as problem:
        print(f"amisend: {problem}", file=sys.stderr)
        return problem.code
    except OSError as error:
        # Standard output is closed or full. Python would try to write to it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"amisend: the answer cannot be shown: {error}", file=sys.stderr)
        return exits.UNKNOWN
    except Interrupted as interrupted:
        print(f"amisend: {word(interrupted.signum)}", file=sys.stderr)
        return exits.SIGNAL + interrupted.signum


def _run(options: argparse.Namespace, interrupts: Signals) -> int:
    if _is_batch(options):
        from .command.batch import Batch, opened

        with opened(options) as descriptor:
            batch = Batch(options, descriptor, interrupts)
            if options.dry_run:
                return batch.show()
            return _with_server(options, batch.send)
    from .command import send as single

    everybody = single.recipients(options)  # what cannot be sent is refused before anything else
    if options.dry_run:
        return single.show(everybody)
    return _with_server(options, partial(single.send, everybody, options.quiet))


def _with_server(options: argparse.Namespace, send: Callable[[Client], int]) -> int:
    if not options.loopback:
        from .command.config import Settings

        return send(Settings(options).client())
    from .client import Client
    from .loopback import SECRET, USERNAME, LoopbackServer

    with LoopbackServer(keep=0 if _is_batch(options) else None) as server:
        code = send(Client(server.host, server.port, username=USERNAME, secret=SECRET))
        for message in server.messages:
            print(f"The loopback server received:\n{message}", flush=True)
    return code


def _is_batch(options: argparse.Namespace) -> bool:
    return options.batch is not None or options.retry is not None


@contextmanager
def _verbose_logging(verbose: bool) -> Iterator[None]:
    """A block of which each step is said on standard error, where that is asked for."""
    if not verbose:
        yield
        return
    import logging

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
