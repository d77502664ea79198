"""What would leave, shown and not sent."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from amiproto import MessageSend


def show(message: MessageSend) -> None:
    """Write the bytes of a message to standard output, with an ActionID such as sessions make."""
    sys.stdout.buffer.write(message.with_action_id(os.urandom(16).hex()).wire)
    sys.stdout.buffer.flush()
