"""Run the loopback server in the foreground: ``python3 -m amiclient.loopback``."""

from __future__ import annotations

import argparse
import signal
import sys
from threading import Event
from typing import List, Optional

from amiproto import Action, parse_message_send

from .script import Received
from .server import LoopbackServer


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the server in the foreground until SIGINT or SIGTERM, and return the exit code.

    :param arguments: the command line without the program name; None for ``sys.argv[1:]``.
    """
    parser = argparse.ArgumentParser(
        prog="python3 -m amiclient.loopback",
        description="Run a fake AMI server on 127.0.0.1 that prints the messages it receives.",
        allow_abbrev=False,
    )
    parser.add_argument("--port", type=int, default=0, help="default: an unused port")
    options = parser.parse_args(arguments)
    stop = Event()
    previous = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        with LoopbackServer(port=options.port, keep=0, watch=_print_action) as server:
            print(f"AMI_URL={server.url}", flush=True)
            stop.wait()
    except KeyboardInterrupt:
        pass
    except OSError as error:
        print(f"cannot listen on port {options.port}: {error}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 0


def _print_action(action: Action) -> None:
    print(action.name, flush=True)
    if action.name.lower() == "messagesend":
        print(Received.of(parse_message_send(action)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
