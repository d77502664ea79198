"""A server in a separate process, which runs until its standard input ends.

Prints a label, the port, a user and the secret. The server is a loopback server, optionally with a
delay of ``--delay`` milliseconds in each direction, or a live Asterisk with ``--asterisk SUITE``.
Asterisk is a process of its own, so that this one runs nothing but its phone.
"""

from __future__ import annotations

import argparse
import asyncio
import select
import sys
from asyncio import StreamReader, StreamWriter
from threading import Thread
from typing import Callable, Tuple

from amiclient.loopback import SECRET, USERNAME, LoopbackServer
from tests.live.asterisk import AsteriskServer
from tests.live.phone import SipPhone
from tests.live.provision import tree


def start_proxy(target: Tuple[str, int], seconds: float) -> int:
    """Start a proxy that relays each chunk this long after it has arrived, and return its port."""

    async def relay(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            data = await reader.read(1 << 16)
            if not data:
                break
            loop.call_later(seconds, writer.write, data)
        writer.close()

    async def connected(reader: StreamReader, writer: StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*target)
        await asyncio.gather(relay(reader, far_writer), relay(far_reader, writer))

    loop = asyncio.new_event_loop()
    proxy = loop.run_until_complete(asyncio.start_server(connected, "127.0.0.1", 0))
    Thread(target=loop.run_forever, daemon=True).start()
    port: int = proxy.sockets[0].getsockname()[1]
    return port


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, metavar="MS")
    parser.add_argument("--asterisk", metavar="SUITE")
    options = parser.parse_args()

    def run(*line: object, between: Callable[[], object] = list) -> None:
        print(*line, sep="\t", flush=True)
        while not select.select([sys.stdin], [], [], 1.0)[0]:
            between()

    if options.asterisk:
        with SipPhone() as phone:
            with AsteriskServer(tree(options.asterisk), phone_port=phone.port) as live:
                secret = live.users["messenger"]
                run(f"Asterisk {live.version}", live.port, "messenger", secret, between=phone.drain)
    else:
        with LoopbackServer(keep=0) as server:
            port, label = server.port, "loopback"
            if options.delay:
                port = start_proxy((server.host, port), options.delay / 1000.0)
                label = f"{options.delay:g} ms each way"
            run(label, port, USERNAME, SECRET)


if __name__ == "__main__":
    main()
