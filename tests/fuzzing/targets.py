"""What is fuzzed: each law with the inputs that a search for a breach of it begins with."""

from __future__ import annotations

import random
from typing import Callable, Dict, List, NamedTuple, Sequence

from . import connections, loopbacks, messages, samples, sessions
from .reading import HEAD


class Target(NamedTuple):
    """One thing that is fuzzed."""

    #: Takes an input; gives the names of what it saw.
    run: Callable[[bytes], List[str]]
    #: Bytes of an input's head.
    head: int
    #: What inputs are made of, behind the head, in groups of one kind.
    samples: List[List[bytes]]
    #: What may stand out anywhere in them.
    tokens: List[bytes]
    #: Most bytes of an input that a search by coverage tries; it cuts off what is more.
    max_len: int
    #: Whole inputs, with their heads.
    inputs: Sequence[bytes] = ()


_RECORDED = samples.recorded()

TARGETS: Dict[str, Target] = {
    "client": Target(
        connections.client, HEAD, [samples.FROM_SERVERS, _RECORDED], samples.TOKENS, 1000
    ),
    "server": Target(connections.server, HEAD, [samples.FROM_CLIENTS], samples.TOKENS, 1200),
    "session": Target(
        sessions.session,
        sessions.SESSION_HEAD,
        [samples.answers(), samples.FROM_SERVERS, _RECORDED, samples.login_answers()],
        samples.TOKENS,
        1000,
    ),
    "message_send": Target(
        messages.message_send,
        messages.MESSAGE_HEAD,
        [samples.MESSAGES],
        samples.WORDS,
        400,
        samples.refusals(),
    ),
    "loopback": Target(loopbacks.loopback, HEAD, [samples.FROM_CLIENTS], samples.TOKENS, 1200),
}


def seeds(name: str) -> List[bytes]:
    """Inputs for a target to begin with: its samples, under settings of all kinds, and others."""
    target = TARGETS[name]
    chance = random.Random(name)
    made = [*target.inputs]
    for group in target.samples:
        for number, sample in enumerate(group):
            cuts = [chance.randrange(256) for _ in range(target.head - 1)]
            made.append(bytes([256 * number // len(group), *cuts]) + sample)
    return made
