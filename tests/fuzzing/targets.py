"""The fuzzing targets: each property with the samples that its inputs are made of."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple

from . import connections, loopbacks, messages, samples, sessions
from .reading import HEAD


class Target(NamedTuple):
    """A property to test."""

    #: Takes an input, and returns the names of the events and errors it reached.
    run: Callable[[bytes], List[str]]
    #: The number of bytes in the head of an input.
    head: int
    #: Samples for the rest of an input, in groups of one kind.
    samples: List[List[bytes]]
    #: Tokens to insert anywhere.
    tokens: List[bytes]


_RECORDED = samples.recorded()

TARGETS: Dict[str, Target] = {
    "client": Target(connections.client, HEAD, [samples.FROM_SERVERS, _RECORDED], samples.TOKENS),
    "server": Target(connections.server, HEAD, [samples.FROM_CLIENTS], samples.TOKENS),
    "session": Target(
        sessions.session,
        sessions.SESSION_HEAD,
        [samples.responses(), samples.FROM_SERVERS, _RECORDED, samples.login_responses()],
        samples.TOKENS,
    ),
    "message_send": Target(
        messages.message_send, messages.MESSAGE_HEAD, [samples.MESSAGES], samples.WORDS
    ),
    "loopback": Target(loopbacks.loopback, HEAD, [samples.FROM_CLIENTS], samples.TOKENS),
}


#: A term of a line of the corpus: a literal, and the number of repetitions.
_TERM = re.compile(r"""(b'(?:[^'\\]|\\.)*'|b"(?:[^"\\]|\\.)*")(?: \* ([0-9]+))?""")


def stored(name: str) -> List[bytes]:
    """Return the inputs of a target from the corpus."""
    inputs = []
    path = Path(__file__).resolve().parent / "corpus" / f"{name}.txt"
    for line in path.read_text(encoding="ascii").splitlines():
        terms = list(_TERM.finditer(line))
        assert " + ".join(term.group() for term in terms) == line
        literals = [ast.literal_eval(term.group(1)) * int(term.group(2) or 1) for term in terms]
        inputs.append(b"".join(literals))
    return inputs
