"""A server in a separate process, which runs until its standard input ends.

Prints a label, the port, a user and the secret. The server is a loopback server, optionally with a
delay of ``--delay`` milliseconds in each direction, or a live Asterisk with ``--asterisk SUITE``.
"""

from __future__ import annotations

import argparse
import heapq
import selectors
import socket
import sys
from threading import Thread
from time import monotonic
from typing import Dict, List, Tuple

from amiclient.loopback import SECRET, USERNAME, LoopbackServer
from tests.live.asterisk import AsteriskServer
from tests.live.phone import SipPhone
from tests.live.provision import tree


def start_proxy(target: Tuple[str, int], seconds: float) -> int:
    """Start a proxy that delays all data, and return its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            near, _ = listener.accept()
            far = socket.create_connection(target)
            Thread(target=relay, args=(near, far, seconds), daemon=True).start()

    Thread(target=serve, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def relay(near: socket.socket, far: socket.socket, seconds: float) -> None:
    """Relay data in both directions, each chunk this long after it has arrived."""
    other: Dict[socket.socket, socket.socket] = {near: far, far: near}
    held: List[Tuple[float, int, socket.socket, bytes]] = []
    number = 0
    with selectors.DefaultSelector() as selector:
        for end in other:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(end, selectors.EVENT_READ, end)
        while True:
            wait = max(0.0, held[0][0] - monotonic()) if held else None
            for key, _ in selector.select(wait):
                sock: socket.socket = key.data
                data = sock.recv(1 << 16)
                if not data:
                    near.close()
                    far.close()
                    return
                number += 1
                heapq.heappush(held, (monotonic() + seconds, number, other[sock], data))
            while held and held[0][0] <= monotonic():
                _, _, end, data = heapq.heappop(held)
                end.sendall(data)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, metavar="MS")
    parser.add_argument("--asterisk", metavar="SUITE")
    options = parser.parse_args()

    def run(*line: object) -> None:
        print(*line, sep="\t", flush=True)
        sys.stdin.read()

    if options.asterisk:
        with SipPhone() as phone:
            with AsteriskServer(tree(options.asterisk), phone_port=phone.port) as live:
                run(f"Asterisk {live.version}", live.port, "messenger", live.users["messenger"])
    else:
        with LoopbackServer(keep=0) as server:
            port, label = server.port, "loopback"
            if options.delay:
                port = start_proxy((server.host, port), options.delay / 1000.0)
                label = f"{options.delay:g} ms each way"
            run(label, port, USERNAME, SECRET)


if __name__ == "__main__":
    main()
