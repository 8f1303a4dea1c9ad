"""Location: a disk of the studio, the same for every session.

Where it is mounted is said in the configuration::

    [plugins.studio_location.arguments]
    mount_point = "/mnt/projects"

or by the environment variable ``STUDIO_MOUNT_POINT``. Without either the plugin does nothing. Being about
sessions, it is loaded into the process of every other plugin too.
"""

import logging
import os

import ftrack_api
import ftrack_api.accessor.disk
import ftrack_api.structure.standard

logger = logging.getLogger("ftrackd.plugins.studio_location")

#: Identifies the location on the server; components are registered with it.
LOCATION_NAME = "studio.disk"


def configure_location(mount_point, event):
    """Handle ``ftrack.api.session.configure-location``, which comes again with every reset."""
    if not mount_point:
        logger.debug("No mount_point is configured, so that there is no location %s", LOCATION_NAME)
        return
    session = event["data"]["session"]
    location = find_or_create_location(session)
    location.accessor = ftrack_api.accessor.disk.DiskAccessor(prefix=mount_point)
    location.structure = ftrack_api.structure.standard.StandardStructure()
    # Before the built-in locations, which begin at 90.
    location.priority = 10
    logger.debug("%s is at %s", LOCATION_NAME, mount_point)


def find_or_create_location(session):
    """Return the location; the first session that ever asks for it creates it."""
    try:
        return session.ensure("Location", {"name": LOCATION_NAME})
    except ftrack_api.exception.ServerError:
        # All plugins' processes start at once, and another one was faster.
        session.rollback()
        return session.query(f'Location where name is "{LOCATION_NAME}"').one()


def register(session, mount_point=None, **kw):
    """Subscribe."""
    if not isinstance(session, ftrack_api.Session):
        return
    mount_point = mount_point or os.environ.get("STUDIO_MOUNT_POINT")
    session.event_hub.subscribe(
        "topic=ftrack.api.session.configure-location",
        lambda event: configure_location(mount_point, event),
    )
