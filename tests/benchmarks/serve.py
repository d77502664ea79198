"""A loopback server in a process of its own, until standard input ends.

With a number of milliseconds as its argument, every byte takes so long each way.
"""

from __future__ import annotations

import heapq
import selectors
import socket
import sys
from threading import Thread
from time import monotonic
from typing import Dict, List, Tuple

from amiclient.loopback import LoopbackServer


def delay(target: Tuple[str, int], seconds: float) -> int:
    """A proxy in front of an address that holds back what passes; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            near, _ = listener.accept()
            far = socket.create_connection(target)
            Thread(target=carry, args=(near, far, seconds), daemon=True).start()

    Thread(target=serve, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def carry(near: socket.socket, far: socket.socket, seconds: float) -> None:
    """Pass bytes both ways, each so long after it came."""
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
    with LoopbackServer(keep=0) as server:
        port = server.port
        if len(sys.argv) > 1:
            port = delay((server.host, port), float(sys.argv[1]) / 1000.0)
        print(port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
