"""An AMI server on 127.0.0.1 for trying things out and for tests, driven by the same codec.

To Challenge, Login, Logoff, Ping and MessageSend it answers byte for byte as Asterisk 22 does, and
as a test wants where that scripts it. ``python3 -m amiclient.loopback`` serves and prints.

Reading order: ``received``, a message as it arrived; ``script``, what a test may ask for;
``server``.
"""

from .received import Received
from .script import Cut, Delay, refuse, silence
from .server import SECRET, USERNAME, LoopbackServer

__all__ = [
    "Cut",
    "Delay",
    "LoopbackServer",
    "Received",
    "SECRET",
    "USERNAME",
    "refuse",
    "silence",
]
