"""Text to bytes and back, without loss: apart, as every other module needs just these two."""

from __future__ import annotations


def to_text(data: bytes) -> str:
    """Decode UTF-8; bytes that are none become lone surrogates, as PEP 383 has it.

    >>> to_text(b"caf\\xc3\\xa9 \\xff")
    'café \\udcff'
    """
    return data.decode("utf-8", "surrogateescape")


def to_bytes(text: str) -> bytes:
    """Encode what :func:`to_text` gave, or any text, to the same bytes.

    :raises UnicodeEncodeError: for a surrogate that stands for no byte.
    """
    return text.encode("utf-8", "surrogateescape")


def is_encodable(text: str) -> bool:
    """Whether :func:`to_bytes` takes the text."""
    try:
        to_bytes(text)
    except UnicodeEncodeError:
        return False
    return True
