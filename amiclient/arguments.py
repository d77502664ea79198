"""Arguments checked when they are given, with the name of the one that is wrong.

Not when they are used: a time-out of the wrong type would be told by a call at night.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Union


class ClientTimeout:
    """Stands for the time-out of the client, where a call names no other.

    There is one, :data:`CLIENT_TIMEOUT`; what wraps a call of the client can pass it on.
    """

    def __repr__(self) -> str:
        return "CLIENT_TIMEOUT"

    def __reduce__(self) -> str:
        return "CLIENT_TIMEOUT"


#: The time-out of a call that names none: that of the client.
CLIENT_TIMEOUT = ClientTimeout()

if TYPE_CHECKING:
    Timeout = Union[float, None, ClientTimeout]


def checked_timeout(timeout: Any, name: str = "timeout") -> Optional[float]:
    """Seconds (float, 0 or more), or None.

    :raises TypeError, ValueError: for anything else.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"{name} is seconds or None, not {type(timeout).__name__}")
    if not timeout >= 0:  # which not-a-number is not
        raise ValueError(f"{name} is {timeout}; give 0 or more seconds, or None to wait for ever")
    return float(timeout)


def checked_number(number: Any, name: str, least: int, most: Optional[int] = None) -> int:
    """An int within limits.

    :raises TypeError, ValueError: for anything else.
    """
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{name} is an int, not {type(number).__name__}")
    if number < least or most is not None and number > most:
        raise ValueError(
            f"{name} is {number}; give {least} {'or more' if most is None else f'to {most}'}"
        )
    return number


def checked_text(text: Any, name: str) -> str:
    """A str that is not empty.

    :raises TypeError, ValueError: for anything else.
    """
    if not isinstance(text, str):
        raise TypeError(f"{name} is a str, not {type(text).__name__}")
    if not text:
        raise ValueError(f"{name} is empty")
    return text


def checked_secret(secret: Any) -> Union[str, bytes]:
    """A str or bytes that is not empty; it is in no error.

    :raises TypeError, ValueError: for anything else.
    """
    kind = type(secret).__name__
    if not isinstance(secret, (str, bytes, bytearray, memoryview)):
        raise TypeError(f"secret is a str or bytes, not {kind}")
    if not len(secret):
        raise ValueError("secret is empty; Asterisk lets nobody in without one")
    return secret if isinstance(secret, str) else bytes(secret)
