"""Values with a meaning of their own, and the names and ids fixed between client and server."""

from __future__ import annotations

import os
from typing import Any, Final


class Symbol:
    """A value that is only itself: unaltered by copying and by pickling.

    `name` identifies the symbol in its process, `value` is its truth.
    """

    def __init__(self, name: str, value: bool = True) -> None:
        self.name = name
        self.value = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def __str__(self) -> str:
        return self.name

    def __bool__(self) -> bool:
        return bool(self.value)

    def __copy__(self) -> Symbol:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Symbol:
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        if globals().get(self.name) is self:
            # The name of a module global: pickle restores that very object, so that `is` keeps its meaning.
            return str(self.name)
        return Symbol, (self.name, self.value)


#: No value at all, neither set here nor fetched; falsy. (None is a value.)
NOT_SET: Final = Symbol("NOT_SET", False)

CREATED: Final = Symbol("CREATED")
MODIFIED: Final = Symbol("MODIFIED")
DELETED: Final = Symbol("DELETED")

COMPONENT_ADDED_TO_LOCATION_TOPIC: Final = "ftrack.location.component-added"
COMPONENT_REMOVED_FROM_LOCATION_TOPIC: Final = "ftrack.location.component-removed"

ORIGIN_LOCATION_ID: Final = "ce9b348f-8809-11e3-821c-20c9d081909b"
UNMANAGED_LOCATION_ID: Final = "cb268ecc-8809-11e3-a7e2-20c9d081909b"
REVIEW_LOCATION_ID: Final = "cd41be70-8809-11e3-b98a-20c9d081909b"
CONNECT_LOCATION_ID: Final = "07b82a97-8cf9-11e3-9383-20c9d081909b"
SERVER_LOCATION_ID: Final = "3a372bde-05bc-11e4-8908-20c9d081909b"

#: Bytes moved at once when data goes from one accessor to another.
CHUNK_SIZE: Final = int(os.environ.get("FTRACK_API_FILE_CHUNK_SIZE") or 1024 * 1024)

#: `Job` data that asks the server to synchronise users with a directory.
JOB_SYNC_USERS_LDAP: Final = Symbol("SYNC_USERS_LDAP")
