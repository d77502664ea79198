"""What became of each line of a batch, written as a line that ``--retry`` reads."""

from __future__ import annotations

import json
import sys

from .exits import OK, code_of
from .wording import sentence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Set

    from amiproto import AMIError

    from ..outcomes import Receipt
    from .lines import Line
    from .progress import Progress


class Account:
    """Writes each line to standard output as it is, with what became of it.

    :param progress: what is told of each.
    """

    def __init__(self, progress: Progress) -> None:
        #: The exit codes of the lines so far.
        self.codes: Set[int] = set()
        self._progress = progress
        # ASCII, so that any text goes through any pipe.
        self._encode = json.JSONEncoder(allow_nan=False).encode

    def write(
        self, line: Line, receipt: Optional[Receipt], error: Optional[AMIError], position: int
    ) -> None:
        """Write a line with its receipt or its error.

        :param position: bytes of the input that were read so far (int).
        :raises OSError: when standard output takes no more.
        """
        text: Optional[str] = None
        retryable, code = False, OK
        if error is not None:
            retryable, code = error.retryable, code_of(error)
            text = f"line {line.number}: {type(error).__name__}: {sentence(error)}"
        told = receipt if error is None else error
        assert told is not None
        outcome, action_id = told.outcome, told.action_id
        fields = {
            **line.fields,
            "outcome": outcome, "retryable": retryable, "action_id": action_id, "error": text,
        }  # fmt: skip
        # At once, so that what was sent is told even if this process is killed.
        sys.stdout.write(self._encode(fields) + "\n")
        sys.stdout.flush()
        self.codes.add(code)
        self._progress.count(outcome, retryable, position)
