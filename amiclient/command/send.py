"""Send one text to each recipient on the command line, one after the other."""

from __future__ import annotations

import argparse
import os
import sys
from typing import List, NamedTuple, Optional, Union

from amiproto import AMIError, MessageSend, split_body

from ..client import Client
from .options import (
    EX_DATAERR,
    EX_NOINPUT,
    EX_OK,
    CommandError,
    combine_exit_codes,
    describe_error,
    exit_code,
    message_arguments,
)

#: Limit for the text on standard input, in bytes: far above the size of a message, even of several
#: with --split, so that memory is bounded.
_MAX_TEXT = 1024 * 1024


class Recipient(NamedTuple):
    """A recipient and its messages: several if ``--split`` is given and the text is long."""

    to: str
    messages: List[MessageSend]


def build_messages(options: argparse.Namespace) -> List[Recipient]:
    """Return the recipients with their messages.

    :raises CommandError: if the text is missing or too long.
    :raises LocalProtocolError: if any message cannot be sent exactly; then none is sent.
    """
    body = _read_body(options.body)
    parts: List[Union[str, bytes]] = [body]
    if options.split:
        try:
            parts = [*split_body(body.decode())]
        except UnicodeDecodeError:
            pass  # not UTF-8: the boundaries of characters are unknown
    arguments = message_arguments(options)
    return [
        Recipient(to, [MessageSend(**{**arguments, "to": to, "body": part}) for part in parts])
        for to in options.to
    ]


def show_messages(recipients: List[Recipient]) -> int:
    """Print the exact bytes of each message, send nothing, and return the exit code (int)."""
    for recipient in recipients:
        for message in recipient.messages:
            show_message(message)
    return EX_OK


def show_message(message: MessageSend) -> None:
    """Print the exact bytes of a message, with a random ActionID as a session makes."""
    sys.stdout.buffer.write(message.with_action_id(os.urandom(16).hex()).wire)
    sys.stdout.buffer.flush()


def send_to_all(client: Client, recipients: List[Recipient], quiet: bool) -> int:
    """Connect, send to all recipients, and report each result.

    :param quiet: report failures only.
    :return: the exit code (int).
    :raises AMIError: if connecting fails; nothing was sent.
    """
    codes = []
    with client:
        for number, recipient in enumerate(recipients):
            try:
                codes.append(_send(client, recipient, quiet))
            except BaseException:
                # Interrupted, or standard output is closed: report the outcome of the rest.
                print(f"amisend: {recipient.to}: may have been sent", file=sys.stderr)
                for unsent in recipients[number + 1 :]:
                    print(f"amisend: {unsent.to}: not sent", file=sys.stderr)
                raise
    return combine_exit_codes(codes)


def _send(client: Client, recipient: Recipient, quiet: bool) -> int:
    for message in recipient.messages:
        try:
            receipt = client.send(message)
        except AMIError as error:  # without one part of a text, the later ones are not sent either
            print(f"amisend: {recipient.to}: {describe_error(error)}", file=sys.stderr)
            return exit_code(error)
        if not quiet:
            result = f"{receipt.server_message} (ActionID {receipt.action_id})"
            print(f"{recipient.to}: {result}", flush=True)
    return EX_OK


def _read_body(text: Optional[str]) -> bytes:
    if text is not None:
        return os.fsencode(text)  # the bytes of the command line, UTF-8 or not
    if sys.stdin is None:
        raise CommandError(EX_NOINPUT, "no message text: use --body or standard input")
    try:
        body = sys.stdin.buffer.read(_MAX_TEXT + 1)
    except OSError as error:
        raise CommandError(EX_NOINPUT, f"cannot read standard input: {error}") from error
    if len(body) > _MAX_TEXT:
        raise CommandError(EX_DATAERR, f"standard input exceeds {_MAX_TEXT} bytes")
    if not body:
        raise CommandError(
            EX_NOINPUT, "standard input is empty; use --body '' to send an empty message"
        )
    return body
