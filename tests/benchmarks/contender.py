"""A program that sends messages, in a process of its own, for ``bench_sending``.

Run as ``python contender.py KIND``. It imports nothing else of the benchmarks, because it also runs
with other libraries, and with another checkout in PYTHONPATH.

The first line of standard input has port, user and secret. Each further line is a number of new
messages to send, and is followed by a line of output: wall-clock and CPU seconds. Only sending
counts: the arguments, or the bytes for a bare socket, are made before.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from functools import partial
from importlib import import_module
from threading import Thread
from time import perf_counter, process_time
from typing import Any, Callable, Dict, List, Tuple

Fields = Dict[str, Any]
#: Make an input from the fields of a message, and send inputs.
Contender = Tuple[Callable[[Fields], Any], Callable[[List[Any]], object]]

END = b"\r\n\r\n"
WINDOW = 32


def message(number: int) -> Fields:
    """Return the arguments of ``Client.send_message``."""
    variables = {"X-Door": f"{number}", "X-Place": f"front {number}", "X-Time": f"12:{number}"}
    body, from_ = f"Someone is at door number {number}", "Door <sip:door@example.org>"
    return {"to": "pjsip:alice", "body": body, "from_": from_, "variables": variables}


def action(fields: Fields) -> Dict[str, str]:
    """Return the headers for a library that takes a dict, with all variables in one header."""
    variables = ",".join(f"{name}={value}" for name, value in fields["variables"].items())
    values = ("MessageSend", fields["to"], fields["from_"], variables, fields["body"])
    return dict(zip(("Action", "To", "From", "Variable", "Body"), values))


def wire(fields: Fields) -> bytes:
    """Return the same bytes as the client, except for the ActionID."""
    variables = "".join(f"Variable: {k}={v}\r\n" for k, v in fields["variables"].items())
    return (
        f"Action: MessageSend\r\nActionID: {'0' * 32}\r\nTo: {fields['to']}\r\n"
        f"From: {fields['from_']}\r\n{variables}Body: {fields['body']}\r\n\r\n"
    ).encode()


def bare(window: int, port: int, user: str, secret: str) -> Contender:
    """Use a socket and nothing else, with a number of messages in flight."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.recv(1024)  # the banner
    login = f"Action: Login\r\nUsername: {user}\r\nSecret: {secret}\r\nEvents: off\r\n\r\n"

    def send(wires: List[bytes]) -> None:
        sock.sendall(b"".join(wires[:window]))
        done, rest = 0, b""
        while done < len(wires):
            data = sock.recv(65536)
            assert data, "the server closed the connection"
            *responses, rest = (rest + data).split(END)
            for response in responses:
                assert b"Response: Success" in response, response
            following = wires[done + window : done + window + len(responses)]
            if following:
                sock.sendall(b"".join(following))
            done += len(responses)

    send([login.encode()])
    return wire, send


def connected(port: int, user: str, secret: str) -> Any:
    """Return a connected client of the checkout in PYTHONPATH."""
    client = import_module("amiclient").Client("127.0.0.1", port, username=user, secret=secret)
    client.connect()
    return client


def single(*server: Any) -> Contender:
    """Use ``Client.send_message``."""
    send_message = connected(*server).send_message
    return dict, lambda messages: [send_message(**fields) for fields in messages]


def listened(*server: Any) -> Contender:
    """Use ``Client.send_message`` beside a thread in ``events()``."""
    client = connected(*server)
    Thread(target=lambda: list(client.events(timeout=None)), daemon=True).start()
    return dict, lambda messages: [client.send_message(**fields) for fields in messages]


def many(*server: Any) -> Contender:
    """Use ``Client.send_messages``."""
    client = connected(*server)

    def send(messages: List[Fields]) -> None:
        for result in client.send_messages(messages, window=WINDOW):
            assert result.outcome == "accepted", result

    return dict, send


def basicami(*server: Any) -> Contender:
    loop = asyncio.new_event_loop()
    connect = import_module("basicami").BasicAMI.connect
    ami = loop.run_until_complete(connect("127.0.0.1", *server))

    async def send(actions: List[Dict[str, str]]) -> None:
        for each in actions:
            response = await ami.send_action(each)
            assert response["Response"] == "Success", response

    return action, lambda actions: loop.run_until_complete(send(actions))


def astami(*server: Any) -> Contender:
    loop = asyncio.new_event_loop()
    ami = import_module("astami").AsyncAMIClient("127.0.0.1", *server)
    loop.run_until_complete(ami.__aenter__())

    async def send(actions: List[Dict[str, str]]) -> None:
        for each in actions:
            response = await ami.send_action(each)
            assert response.success, response

    return action, lambda actions: loop.run_until_complete(send(actions))


def script(path: str, *server: Any) -> None:
    """Send the messages in a file for ``amisend --batch``, and print each with its outcome."""
    with open(path, encoding="utf-8") as lines:
        for result in connected(*server).send_messages(map(json.loads, lines), window=WINDOW):
            print(json.dumps({**result.message, "outcome": result.outcome}))


CONTENDERS: Dict[str, Callable[..., Contender]] = {
    "bare": partial(bare, 1),
    "pipeline": partial(bare, WINDOW),
    "single": single,
    "listened": listened,
    "many": many,
    "basicami": basicami,
    "astami": astami,
}


def main() -> None:
    port, user, secret = sys.stdin.readline().rstrip("\n").split("\t", 2)
    if sys.argv[1] == "script":
        script(sys.argv[2], int(port), user, secret)
        return
    make, send = CONTENDERS[sys.argv[1]](int(port), user, secret)
    number = 0
    for line in sys.stdin:
        inputs = [make(message(number + each)) for each in range(int(line))]
        number += len(inputs)
        cpu, wall = process_time(), perf_counter()
        send(inputs)
        print(perf_counter() - wall, process_time() - cpu, flush=True)
    os._exit(0)  # with tasks and a thread still waiting


if __name__ == "__main__":
    main()
