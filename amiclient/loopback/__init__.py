"""An AMI server on 127.0.0.1 for trying things out and for tests, driven by the same codec.

To Challenge, Login, Logoff, Ping and MessageSend it answers byte for byte as Asterisk 22 does, or
as 16 or 11 where a test asks for that, and as a test wants where that scripts it.
``python3 -m amiclient.loopback`` serves and prints.

Reading order: ``versions``, what differs between them; ``received``, a message as it arrived;
``script``, what a test may ask for; ``reading``, the pieces in which bytes are read; ``server``.
"""

from .script import Delay, Disconnect, EventList, Output, Received, no_response, refuse
from .server import SECRET, USERNAME, LoopbackServer

__all__ = [
    "Disconnect",
    "Delay",
    "EventList",
    "LoopbackServer",
    "Output",
    "Received",
    "SECRET",
    "USERNAME",
    "refuse",
    "no_response",
]
