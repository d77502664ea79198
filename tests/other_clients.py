"""Another AMI library in a process of its own: log in, send messages, receive events, log off.

Run as ``python other_clients.py LIBRARY PORT USER SECRET TO COUNT``, with the library in
PYTHONPATH. It imports nothing else of the tests. It waits for as many UserEvents as there are
messages, and prints the number of messages that were accepted, and the header ``Number`` of each
event.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from importlib import import_module
from typing import Any, Callable, Dict, List

#: Seconds until a program that waits for a response or an event is stopped.
TIMEOUT = 30

Fields = Dict[str, str]

_LOGIN = "Action: Login\r\nUsername: {user}\r\nSecret: {secret}\r\n"
_SEND = "Action: MessageSend\r\nTo: {to}\r\nBody: x\r\n"
#: What clients write: the recorded style of each library, and invalid actions between valid ones.
STREAMS: Dict[str, str] = {
    "panoramisk": (
        "Action: Login\r\nActionID: action/3d399aba-20c0-441b-acf3/1/1\r\nEvents: on\r\n"
        "Secret: {secret}\r\nUsername: {user}\r\n\r\n"
        "Action: MessageSend\r\nActionID: action/3d399aba-20c0-441b-acf3/1/2\r\n"
        "Body: number 0\r\nFrom: <sip:a@b>\r\nTo: {to}\r\n\r\n"
    ),
    # Also asterisk-ami, astami and basicami, with other ActionIDs.
    "pyst2": f"{_LOGIN}ActionID: vm-00000000\r\n\r\n{_SEND}ActionID: vm-00000001\r\n\r\n",
    "starpy": (
        "action: login\r\nusername: {user}\r\nsecret: {secret}\r\nactionid: vm-1-1\r\n\r\n"
        "action: messagesend\r\nto: {to}\r\nbody: x\r\nactionid: vm-1-2\r\n\r\n"
    ),
    "typed": (_LOGIN + "\r\n" + _SEND + "\r\nAction: Logoff\r\n\r\n").replace("\r", ""),
    "blank lines": f"\r\n{_LOGIN}\r\n\r\n\n{_SEND}\r\n\r\nAction: Ping\r\nActionID: 1\r\n\r\n\r\n",
    "no action": f"{_LOGIN}\r\n{_SEND}\r\nTo: a\r\nActionID: 2\r3\r\n\r\nno colon\r\n\r\n",
    "too many lines": (
        f"{_LOGIN}\r\n{_SEND}\r\nActionID: 4\r\n{_SEND}" + "X: y\r\n" * 125 + f"\r\n{_SEND}\r\n"
    ),
    "long lines": f"{_LOGIN}\r\n{_SEND}\r\n"
    + "".join(
        f"{_SEND}ActionID: {size}\r\nX: " + "y" * (size - 3) + f"\r\n{_SEND}\r\n"
        for size in (1022, 1023, 1024, 1025, 1026, 2045, 2046, 2047)
    ),
}


async def panoramisk(
    port: int, user: str, secret: str, messages: List[Fields], events: List[str]
) -> int:
    # It writes the login as soon as it is connected, without waiting for the banner.
    manager = import_module("panoramisk").Manager(
        loop=asyncio.get_running_loop(), port=port, username=user, secret=secret, ssl=False
    )
    manager.register_event("UserEvent", lambda _, event: events.append(event.Number))
    await manager.connect()
    while not manager.authenticated:
        await asyncio.sleep(0.01)
    responses = [await manager.send_action(message) for message in messages]
    while len(events) < len(messages):
        await asyncio.sleep(0.01)
    await manager.send_action({"Action": "Logoff"})
    return sum(response.success for response in responses)


def pyst2(port: int, user: str, secret: str, messages: List[Fields], events: List[str]) -> int:
    # It matches responses to actions by their order.
    manager = import_module("asterisk.manager").Manager()
    manager.register_event("UserEvent", lambda event, _: events.append(event["Number"]))
    manager.connect("127.0.0.1", port)
    manager.login(user, secret)
    responses = [manager.send_action(message)["Response"] for message in messages]
    while len(events) < len(messages):
        time.sleep(0.01)
    manager.logoff()
    return responses.count("Success")


def asterisk_ami(
    port: int, user: str, secret: str, messages: List[Fields], events: List[str]
) -> int:
    # Its first ActionID is 0.
    ami = import_module("asterisk.ami")
    client = ami.AMIClient(port=port)
    client.add_event_listener(
        lambda event, **_: events.append(event["Number"]), white_list=["UserEvent"]
    )
    assert not client.login(user, secret).response.is_error()
    actions = [ami.Action(message.pop("Action"), message) for message in messages]
    responses = [client.send_action(action).response for action in actions]
    while len(events) < len(messages):
        time.sleep(0.01)
    assert client.logoff().response.status == "Goodbye"
    return sum(not response.is_error() for response in responses)


async def basicami(
    port: int, user: str, secret: str, messages: List[Fields], events: List[str]
) -> int:
    ami = await import_module("basicami").BasicAMI.connect("127.0.0.1", port, user, secret)
    responses = [(await ami.send_action(message))["Response"] for message in messages]
    while len(events) < len(messages):
        received = await ami.get_events()
        events += [event["Number"] for event in received if event["Event"] == "UserEvent"]
    await ami.send_action({"Action": "Logoff"})
    return responses.count("Success")


async def astami(
    port: int, user: str, secret: str, messages: List[Fields], events: List[str]
) -> int:
    # It drops events.
    async with import_module("astami").AsyncAMIClient("127.0.0.1", port, user, secret) as ami:
        responses = [await ami.send_action(message) for message in messages]
    return sum(response.success for response in responses)


LIBRARIES: Dict[str, Callable[..., Any]] = {
    "asterisk-ami": asterisk_ami,
    "astami": astami,
    "basicami": basicami,
    "panoramisk": panoramisk,
    "pyst2": pyst2,
}


def main(name: str, port: str, user: str, secret: str, to: str, count: str) -> None:
    signal.alarm(TIMEOUT)
    fields = {"Action": "MessageSend", "To": to, "From": "<sip:a@b>"}
    messages = [{**fields, "Body": f"number {number}"} for number in range(int(count))]
    events: List[str] = []
    accepted = LIBRARIES[name](int(port), user, secret, messages, events)
    if asyncio.iscoroutine(accepted):
        accepted = asyncio.run(accepted)
    print(accepted, *events, flush=True)
    os._exit(0)  # some libraries leave threads that never end


if __name__ == "__main__":
    main(*sys.argv[1:])
