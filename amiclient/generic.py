"""``Generic`` for classes that are generic to type checkers, without the import of typing.

That takes longer than all that is imported here, and gives nothing at run time.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
    from typing import Generic as Generic
    from typing import Mapping, TypeVar, Union

    from amiproto import MessageSend

    #: A message as it may be given: built, or the arguments of one by name.
    Given = Union[MessageSend, Mapping[str, Any]]
    Item = TypeVar("Item", bound=Given, covariant=True)
else:
    Item = None

    class Generic:
        """Stands for the one of typing: ``SendResult[MessageSend]`` is ``SendResult``."""

        __slots__ = ()

        def __class_getitem__(cls, item):
            return cls
