"""One text to each recipient that the command line names, one message after the other.

What would leave, shown and not sent.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import List, Optional, Union

from amiproto import MessageSend

from ..client import Client
from .options import DATA, NO_INPUT, OK, CommandError, code_of, combine_exit_codes
from .wording import with_option

#: Most bytes of a text, far above what messages hold even with --split: bounds what is kept.
_MAX_TEXT = 1024 * 1024


class Recipient:
    """Somebody to send to, and the messages: more than one where a text is split."""

    def __init__(self, to: str, messages: List[MessageSend]) -> None:
        self.to = to
        self.messages = messages


def recipients(options: argparse.Namespace) -> List[Recipient]:
    """Everybody to send to, with messages that can be sent.

    :raises Problem: when there is no text.
    :raises LocalProtocolError: when one message cannot be sent as it is; then none is.
    """
    from amiproto import MessageSend, split_body

    body = _body(options.body)
    parts: List[Union[str, bytes]] = [body]
    if options.split:
        try:
            parts = [*split_body(body.decode())]
        except UnicodeDecodeError:
            pass  # bytes of another encoding: nobody knows where a character ends
    address = (options.from_, options.variable, options.destination)
    return [Recipient(to, [MessageSend(to, part, *address) for part in parts]) for to in options.to]


def show(everybody: List[Recipient]) -> int:
    """Write the bytes that would leave, and send nothing.

    :return: the exit code (int).
    """
    for recipient in everybody:
        for message in recipient.messages:
            show_bytes(message)
    return OK


def send(everybody: List[Recipient], quiet: bool, client: Client) -> int:
    """Connect, send to everybody, and say what became of each.

    :param quiet: say only what failed.
    :return: the exit code (int).
    :raises AMIError: when there is no connection, and so nothing was sent.
    """
    codes = []
    with client:
        for number, recipient in enumerate(everybody):
            try:
                codes.append(_send(recipient, quiet, client))
            except BaseException:
                # Interrupted, or standard output is closed: who is left is to be known.
                print(f"amisend: {recipient.to}: may have been sent", file=sys.stderr)
                for other in everybody[number + 1 :]:
                    print(f"amisend: {other.to}: not sent", file=sys.stderr)
                raise
    return combine_exit_codes(codes)


def _send(recipient: Recipient, quiet: bool, client: Client) -> int:
    from amiproto import AMIError

    for message in recipient.messages:
        try:
            receipt = client.send(message)
        except AMIError as error:  # of a text in parts, the rest is no use without this one
            print(f"amisend: {recipient.to}: {with_option(error)}", file=sys.stderr)
            return code_of(error)
        if not quiet:
            words = f"{receipt.server_message} (ActionID {receipt.action_id})"
            print(f"{recipient.to}: {words}", flush=True)
    return OK


def _body(text: Optional[str]) -> bytes:
    if text is not None:
        return os.fsencode(text)  # the bytes that the shell gave
    if sys.stdin is None:
        raise CommandError(NO_INPUT, "there is no text: give --body, or standard input")
    try:
        body = sys.stdin.buffer.read(_MAX_TEXT + 1)
    except OSError as error:
        raise CommandError(NO_INPUT, f"standard input: {error}") from error
    if len(body) > _MAX_TEXT:
        raise CommandError(DATA, f"standard input has over {_MAX_TEXT} bytes; send less")
    if not body:
        raise CommandError(
            NO_INPUT, "standard input is empty; give --body, and --body '' for an empty message"
        )
    return body


def show_bytes(message: MessageSend) -> None:
    """Write the bytes of a message to standard output, with an ActionID such as sessions make."""
    sys.stdout.buffer.write(message.with_action_id(os.urandom(16).hex()).wire)
    sys.stdout.buffer.flush()
