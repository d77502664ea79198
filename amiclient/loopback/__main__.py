"""``python3 -m amiclient.loopback``: serve and print what comes, until Ctrl-C."""

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
    """Run the server in the foreground.

    :param arguments: the command line without the name (list of str); None for the process's own.
    :return: the exit code (int).
    """
    parser = argparse.ArgumentParser(
        prog="python3 -m amiclient.loopback",
        description="An AMI server on 127.0.0.1 that sends nothing, and prints what it receives.",
        allow_abbrev=False,
    )
    parser.add_argument("--port", type=int, default=0, help="default: one that is free")
    options = parser.parse_args(arguments)
    ended = Event()
    before = signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        with LoopbackServer(port=options.port, keep=0, watch=_show) as server:
            print(f"AMI_URL={server.url}", flush=True)
            ended.wait()
    except KeyboardInterrupt:
        pass
    except OSError as error:
        print(f"port {options.port}: {error}; give another --port", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _show(action: Action) -> None:
    print(action.name, flush=True)
    if action.name.lower() == "messagesend":
        print(Received.of(parse_message_send(action)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
