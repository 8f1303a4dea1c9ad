"""Asset versions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from ftrackd.api.entity.base import Entity

if TYPE_CHECKING:
    from ftrackd.api._transfer import OnProgress


class AssetVersion(Entity):
    """One published version of an asset."""

    __slots__ = ()

    def create_component(
        self,
        path: str | os.PathLike[str],
        data: Mapping[str, Any] | None = None,
        location: Entity | Literal["auto"] | None = None,
        *,
        on_progress: OnProgress | None = None,
    ) -> Entity:
        """Return a new component of this version, made from *path*.

        As ``Session.create_component``, with the version set; in *data*, ``version`` and ``version_id``
        are ignored.
        """
        component_data = {key: value for key, value in (data or {}).items() if key != "version_id"}
        component_data["version"] = self
        component: Entity = self.session.create_component(
            path, data=component_data, location=location, on_progress=on_progress
        )
        return component

    def encode_media(
        self, media: str | os.PathLike[str] | Entity, keep_original: bool | Literal["auto"] = "auto"
    ) -> Entity:
        """Return a new job that makes *media* playable in browsers, as components of this version.

        As ``Session.encode_media``.
        """
        job: Entity = self.session.encode_media(media, version_id=self["id"], keep_original=keep_original)
        return job
