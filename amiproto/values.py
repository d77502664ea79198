"""What the codec tells that is no message: values, all of one style.

A frozen dataclass would be the same, but the standard library's module for them loads ``os`` and
``inspect``, which a codec without I/O has no use for.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Tuple


class Value:
    """Immutable, and equal, hashable, copyable and picklable by its fields.

    A subclass names its fields in ``__slots__``, in the order of its constructor's arguments, and
    sets them there with :meth:`_fill`, once.
    """

    __slots__: Tuple[str, ...] = ()

    def _fill(self, *values: Any) -> None:
        for name, value in zip(self.__slots__, values):
            object.__setattr__(self, name, value)

    def _fields(self) -> Tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self.__slots__])

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        assert isinstance(other, Value)
        return self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash((type(self), self._fields()))

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), self._fields()

    def __repr__(self) -> str:
        shown = ", ".join(f"{n}={v!r}" for n, v in zip(self.__slots__, self._fields()))
        return f"{type(self).__name__}({shown})"
