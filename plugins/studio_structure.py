"""Structure: where the files of the location ``studio.disk`` go.

The standard structure, except that assets are kept by their type, and that the folder of a version has
four digits::

    my_project/sc010/sh020/comp/beauty/v0003/main.exr

Set after the location was configured: a higher number is a later turn. Change it before the first
component is added, or never: what is registered keeps the place it has.
"""

import logging

import ftrack_api
import ftrack_api.structure.standard

logger = logging.getLogger("ftrackd.plugins.studio_structure")

LOCATION_NAME = "studio.disk"


class StudioStructure(ftrack_api.structure.standard.StandardStructure):
    """Puts the type of the asset above its name."""

    def _get_parts(self, entity):
        *folders, asset, version = super()._get_parts(entity)
        return [*folders, self.sanitise_for_filesystem(self._get_asset_type(entity)), asset, version]

    def _format_version(self, number):
        return f"v{number:04d}"

    def _get_asset_type(self, entity):
        return self._get_version(entity)["asset"]["type"]["short"]


def set_structure(event):
    """Handle ``ftrack.api.session.configure-location`` after the location's own plugin."""
    session = event["data"]["session"]
    location = session.query(f'Location where name is "{LOCATION_NAME}"').first()
    if location is None or not location.accessor:
        return
    location.structure = StudioStructure()
    logger.debug("%s has the studio's structure", LOCATION_NAME)


def register(session, **kw):
    """Subscribe."""
    if not isinstance(session, ftrack_api.Session):
        return
    session.event_hub.subscribe("topic=ftrack.api.session.configure-location", set_structure, priority=200)
