"""Give one object a further base class."""

from __future__ import annotations

import weakref
from typing import Any

#: Classes made so far: configuring a location again must not make another one.
_made: weakref.WeakValueDictionary[tuple[type[Any], type[Any], str], type[Any]] = (
    weakref.WeakValueDictionary()
)


def mixin(instance: Any, mixin_class: type[Any], name: str | None = None) -> None:
    """Let `instance` be a `mixin_class` too, in front of its own class; nothing happens when it is one
    already.

    `name` is the name of its new class (default: the names of both).
    """
    present = type(instance)
    if mixin_class in present.__mro__:
        return
    if name is None:
        name = f"{present.__name__}{mixin_class.__name__}"
    key = (present, mixin_class, name)
    made = _made.get(key)
    if made is None:
        metaclass: Any = type(present)
        made = metaclass(name, (mixin_class, present), {"__module__": present.__module__})
        _made[key] = made
    instance.__class__ = made
