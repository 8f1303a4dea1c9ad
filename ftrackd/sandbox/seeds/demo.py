"""A small production: a short film in full swing and a commercial that has just begun.

Dates are around the day of planting, ids are the same everywhere (see :func:`seed_id`): the task that
documents name is ``seed_id("Task", "hare", "SEQ010", "SH010", "animation")``.
"""

from __future__ import annotations

import itertools
import json
import zlib
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from ftrackd.sandbox.seeds import installation
from ftrackd.sandbox.seeds.client_suites import USER, configure
from ftrackd.sandbox.seeds.demo_plan import (
    ASSET_TYPES,
    HARE_ASSETS,
    HARE_SHOTS,
    LATEST_DUE_DAYS,
    TEA_SHOTS,
    USERS,
    Shot,
    published,
    task_name,
)
from ftrackd.sandbox.seeds.ids import seed_id
from ftrackd.sandbox.seeds.installation import (
    APPROVED,
    CLIENT_APPROVED,
    IN_PROGRESS,
    PENDING_REVIEW,
    TYPE_IDS,
)
from ftrackd.sandbox.seeds.pictures import HEIGHT, WIDTH, draw

if TYPE_CHECKING:
    from ftrackd.sandbox.store.transaction import Transaction

SERVER_LOCATION: Final = "3a372bde-05bc-11e4-8908-20c9d081909b"
UNMANAGED_LOCATION: Final = "cb268ecc-8809-11e3-a7e2-20c9d081909b"


def demo_file(component_id: str) -> bytes | None:
    """The bytes of a component of the demo that is stored on the server; ``None`` for any other.

    They are drawn on request, so that a sandbox starts at once.
    """
    found = _pictures().get(component_id)
    return draw(*found) if found is not None else None


@cache
def _pictures() -> dict[str, tuple[int, int]]:
    """Id of each picture's component to what :func:`draw` needs."""
    found: dict[str, tuple[int, int]] = {}
    for path, count in published():
        for number in range(1, count + 1):
            for name in ("ftrackreview-image", "thumbnail"):
                component_id = seed_id("FileComponent", *path, f"v{number:03d}", name)
                found[component_id] = (zlib.crc32("/".join(path).encode()), number)
    return found


def plant(transaction: Transaction) -> None:
    """Write the production."""
    _Demo(transaction).plant()


class _Demo:
    """Writes the production with one transaction; keeps what later parts refer to."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._today = datetime.fromisoformat(transaction.now).replace(hour=0, minute=0, second=0)
        self._artists: dict[str, list[str]] = {}
        # Who works on a task, and the day it is due.
        self._work: dict[str, tuple[str, int]] = {}
        self._versions: list[str] = []

    def plant(self) -> None:
        self._people()
        self._custom_attributes()
        hare = self._project("hare", "The Hare and the Clock", "#3498DB", HARE_SHOTS)
        self._assets(hare)
        tea = self._project("tea", "Tea Time (commercial)", "#E67E22", TEA_SHOTS)
        self._milestones(hare, tea)
        self._links()
        self._notes()
        self._lists(hare)
        self._review(hare)
        self._sequence_component()

    def _create(self, entity_type: str, path: tuple[str, ...], **data: Any) -> str:
        entity_id = seed_id(entity_type, *path)
        self._transaction.create(entity_type, {"id": entity_id, **data})
        return entity_id

    def _day(self, offset: int, hour: int = 0) -> str:
        return (self._today + timedelta(days=offset, hours=hour)).isoformat()

    def _people(self) -> None:
        groups: dict[str, str] = {}
        for username, first_name, last_name, group in USERS:
            if group not in groups:
                groups[group] = self._create("Group", (group,), name=group, local=True)
            user_id = self._create(
                "User", (username,), username=username, first_name=first_name, last_name=last_name,
                email=f"{username}@example.com",
            )  # fmt: skip
            self._create("Membership", (username,), user_id=user_id, group_id=groups[group])
            self._artists.setdefault(group, []).append(user_id)
        role_id = seed_id("SecurityRole", "Administrator")
        self._create(
            "UserSecurityRole", ("demo",), user_id=USER, security_role_id=role_id, is_all_projects=True
        )

    def _custom_attributes(self) -> None:
        group_id = seed_id("CustomAttributeGroup", "Production")
        self._transaction.create("CustomAttributeGroup", {"id": group_id, "name": "Production"})
        levels = json.dumps([{"menu": name.title(), "value": name} for name in ("simple", "medium", "hard")])
        rows: tuple[tuple[str, str, str, str | None, Any, str, bool], ...] = (
            ("fend", "number", "task", "Shot", 1, '{"isdecimal": false}', False),
            ("frames", "expression", "task", "Shot", "{self.fend - self.fstart + 1}", "{}", False),
            ("fps", "number", "show", None, 24, '{"isdecimal": true}', True),
            ("handles", "number", "show", None, 8, '{"isdecimal": false}', True),
            ("complexity", "enumerator", "task", "Shot", ["medium"],
             json.dumps({"multiSelect": False, "data": levels}), False),
            ("is_hero", "boolean", "task", "Asset Build", False, "{}", False),
            ("internal_deadline", "date", "task", "Task", None, "{}", False),
            ("client", "text", "show", None, "", '{"markdown": false}', False),
        )  # fmt: skip
        for sort, row in enumerate(rows):
            configure(self._transaction, group_id, sort, *row)

    def _set(self, configuration: tuple[str, str, str], entity_id: str, value: Any) -> None:
        configuration_id = seed_id("CustomAttributeConfiguration", *configuration)
        self._transaction.create(
            "CustomAttributeValue",
            {"configuration_id": configuration_id, "entity_id": entity_id, "value": value},
        )

    def _project(self, name: str, full_name: str, color: str, shots: tuple[Shot, ...]) -> str:
        project_id = self._create(
            "Project", (name,), name=name, full_name=full_name, color=color,
            project_schema_id=installation.PROJECT_SCHEMA,
            start_date=self._day(-60), end_date=self._day(60),
        )  # fmt: skip
        self._set(("show", "", "client"), project_id, "Long Ear Pictures" if name == "hare" else "Leaf & Co")
        self._set(("show", "", "fps"), project_id, 24 if name == "hare" else 25)
        sequences: dict[str, str] = {}
        for shot in shots:
            if shot.sequence not in sequences:
                sequences[shot.sequence] = self._create(
                    "Sequence", (name, shot.sequence), name=shot.sequence, parent_id=project_id
                )
            self._shot(name, sequences[shot.sequence], shot)
        return project_id

    def _shot(self, project: str, sequence_id: str, shot: Shot) -> None:
        path = (project, shot.sequence, shot.name)
        shot_id = self._create(
            "Shot", path, name=shot.name, parent_id=sequence_id, status_id=shot.status,
            description=f"Frames {shot.first_frame} to {shot.last_frame}.",
        )  # fmt: skip
        self._set(("task", "Shot", "fstart"), shot_id, shot.first_frame)
        self._set(("task", "Shot", "fend"), shot_id, shot.last_frame)
        length = shot.last_frame - shot.first_frame
        self._set(("task", "Shot", "complexity"), shot_id, ["hard" if length > 90 else "simple"])
        for type_name, status_id, days, count in shot.tasks:
            task_id = self._task(path, shot_id, type_name, status_id, days)
            self._publish((*path, task_name(type_name)), shot_id, task_id, type_name, count)

    def _task(self, path: tuple[str, ...], parent_id: str, type_name: str, status_id: str, days: int) -> str:
        name = task_name(type_name)
        days = min(days, LATEST_DUE_DAYS.get(status_id, days))
        task_id = self._create(
            "Task", (*path, name), name=name, parent_id=parent_id, type_id=TYPE_IDS[type_name],
            status_id=status_id, start_date=self._day(days - 5, 9), end_date=self._day(days, 18),
            bid=5 * 8 * 3600.0,
        )  # fmt: skip
        artist = self._artist(type_name, len(path[-1]) + len(path) + ord(path[-1][-2]))
        self._work[task_id] = (artist, days)
        self._create("Appointment", (*path, name), type="assignment", context_id=task_id, resource_id=artist)
        if status_id == IN_PROGRESS:
            self._create(
                "Appointment", (*path, name, "demo"), type="assignment", context_id=task_id, resource_id=USER
            )
            self._create(
                "Timelog", (*path, name), context_id=task_id, user_id=artist, start=self._day(-1, 10),
                duration=6.5 * 3600, comment="Blocking and first pass", name="",
            )  # fmt: skip
        return task_id

    def _artist(self, type_name: str, number: int) -> str:
        group = "Lighting and compositing"
        if type_name in ("Animation", "Previz"):
            group = "Animation"
        elif type_name in ("Modeling", "Rigging", "Lookdev", "Matte Painting"):
            group = "Assets"
        artists = self._artists[group]
        return artists[number % len(artists)]

    def _publish(
        self, path: tuple[str, ...], parent_id: str, task_id: str, type_name: str, count: int
    ) -> None:
        if not count:
            return
        asset_id = self._create(
            "Asset", path, name=path[-1], context_id=parent_id,
            type_id=seed_id("AssetType", ASSET_TYPES.get(type_name, "img")),
        )  # fmt: skip
        for number in range(1, count + 1):
            self._version((*path, f"v{number:03d}"), asset_id, task_id, number, count)
        self._transaction.update(
            "Task", [task_id], {"thumbnail_id": seed_id("FileComponent", *path, f"v{count:03d}", "thumbnail")}
        )

    def _version(self, path: tuple[str, ...], asset_id: str, task_id: str, number: int, count: int) -> None:
        artist, due = self._work[task_id]
        is_last = number == count
        thumbnail_id = self._picture((*path, "thumbnail"), None)
        version_id = self._create(
            "AssetVersion", path, asset_id=asset_id, task_id=task_id, version=number,
            comment="First pass" if number == 1 else "Notes addressed", thumbnail_id=thumbnail_id,
            user_id=artist, date=self._day(min(due, -1) - count + number, 16),
            status_id=installation.PENDING if is_last else APPROVED,
        )  # fmt: skip
        component_id = self._picture((*path, "ftrackreview-image"), version_id)
        meta = json.dumps({"format": "image", "width": WIDTH, "height": HEIGHT})
        self._transaction.create(
            "Metadata",
            {"parent_id": component_id, "parent_type": "FileComponent", "key": "ftr_meta", "value": meta},
        )
        if is_last:
            self._versions.append(version_id)

    def _picture(self, path: tuple[str, ...], version_id: str | None) -> str:
        content = demo_file(seed_id("FileComponent", *path))
        assert content is not None
        component_id = self._create(
            "FileComponent", path, name=path[-1], file_type=".png", size=len(content), version_id=version_id
        )
        self._create(
            "ComponentLocation", path, component_id=component_id, location_id=SERVER_LOCATION,
            resource_identifier=component_id,
        )  # fmt: skip
        return component_id

    def _assets(self, project_id: str) -> None:
        folder_id = self._create("Folder", ("hare", "assets"), name="assets", parent_id=project_id)
        for name, type_name, tasks in HARE_ASSETS:
            path = ("hare", "assets", name)
            build_id = self._create(
                "AssetBuild", path, name=name, parent_id=folder_id, type_id=TYPE_IDS[type_name]
            )
            self._set(("task", "Asset Build", "is_hero"), build_id, name == "hare")
            for task_type, status_id, count in tasks:
                task_id = self._task(path, build_id, task_type, status_id, -10 if count > 1 else 6)
                self._publish((*path, task_name(task_type)), build_id, task_id, task_type, count)

    def _milestones(self, hare: str, tea: str) -> None:
        for project, project_id, name, days in (
            ("hare", hare, "Animation lock", 20),
            ("hare", hare, "Festival delivery", 55),
            ("tea", tea, "Client delivery", 14),
        ):
            self._create(
                "Milestone", (project, name), name=name, parent_id=project_id, end_date=self._day(days, 18)
            )

    def _links(self) -> None:
        """Each task of a shot waits for the one before it."""
        for project, shots in (("hare", HARE_SHOTS), ("tea", TEA_SHOTS)):
            for shot in shots:
                names = [task_name(task[0]) for task in shot.tasks]
                for before, after in itertools.pairwise(names):
                    path = (project, shot.sequence, shot.name)
                    self._create(
                        "TypedContextLink", (*path, before, after),
                        from_id=seed_id("Task", *path, before), to_id=seed_id("Task", *path, after),
                    )  # fmt: skip

    def _notes(self) -> None:
        ada, chen = self._artists["Animation"][0], self._artists["Lighting and compositing"][0]
        task_id = seed_id("Task", "hare", "SEQ010", "SH010", "animation")
        note_id = self._create(
            "Note", ("hare", "ears"), content="Let the ears settle two frames later.", user_id=USER,
            parent_id=task_id, parent_type="Task", date=self._day(-13, 17),
        )  # fmt: skip
        self._create(
            "Note", ("hare", "ears", "reply"), content="Done in v003.", user_id=ada,
            in_reply_to_id=note_id, date=self._day(-12, 17),
        )  # fmt: skip
        self._transaction.create(
            "NoteLabelLink", {"note_id": note_id, "label_id": seed_id("NoteLabel", "Internal")}
        )
        self._transaction.create("Recipient", {"note_id": note_id, "resource_id": ada})
        for number, version_id in enumerate(self._versions[:6]):
            self._create(
                "Note", ("hare", "version", str(number)), parent_id=version_id, parent_type="AssetVersion",
                content="Please match the grade of SH020." if number % 2 else "One more pass on the eyes.",
                user_id=chen if number % 2 else USER, date=self._day(-1, 9 + number),
                frame_number=1001 + number,
            )  # fmt: skip
        self._create(
            "Note", ("hare", "shot"), content="Client wants the clock larger in frame.", user_id=USER,
            parent_id=seed_id("Shot", "hare", "SEQ010", "SH010"), parent_type="Shot", is_todo=True,
            date=self._day(-1, 17),
        )  # fmt: skip
        self._transaction.create(
            "Metadata",
            {
                "parent_id": seed_id("Shot", "hare", "SEQ010", "SH010"),
                "parent_type": "Shot",
                "key": "camera",
                "value": "A-cam 35mm",
            },
        )

    def _lists(self, project_id: str) -> None:
        focus = self._create(
            "TypedContextList", ("hare", "focus"), name="Focus of the week", project_id=project_id,
            user_id=USER, category_id=seed_id("ListCategory", "Default"), date=self._day(0),
        )  # fmt: skip
        for shot in ("SH010", "SH020", "SH030"):
            task_id = seed_id("Task", "hare", "SEQ010", shot, "animation")
            self._create("ListObject", ("focus", shot), list_id=focus, entity_id=task_id)
        dailies = self._create(
            "AssetVersionList", ("hare", "dailies"), name="Dailies Monday", project_id=project_id,
            user_id=USER, category_id=seed_id("ListCategory", "Dailies"), date=self._day(-1),
        )  # fmt: skip
        for number, version_id in enumerate(self._versions[:5]):
            self._create("ListObject", ("dailies", str(number)), list_id=dailies, entity_id=version_id)

    def _review(self, project_id: str) -> None:
        session_id = self._create(
            "ReviewSession", ("hare", "client"), name="Client review 1", project_id=project_id,
            description="First look at sequence 010.", start_date=self._day(-2), end_date=self._day(12),
            created_by_id=USER,
        )  # fmt: skip
        invitee_id = self._create(
            "ReviewSessionInvitee", ("hare", "client"), review_session_id=session_id,
            name="Mo Client", email="mo@client.example.com", created_by_id=USER,
        )  # fmt: skip
        for number, version_id in enumerate(self._versions[:4]):
            object_id = self._create(
                "ReviewSessionObject", ("hare", str(number)), review_session_id=session_id,
                version_id=version_id, name=f"Shot {number + 1}", version="Version 1", description="",
            )  # fmt: skip
            if number < 2:
                self._create(
                    "ReviewSessionObjectStatus", ("hare", str(number)), review_session_object_id=object_id,
                    review_session_invitee_id=invitee_id, status="approved" if number else "require_changes",
                )  # fmt: skip

    def _sequence_component(self) -> None:
        """Rendered frames that lie on the studio's disk, where no location manages them."""
        version_id = seed_id("AssetVersion", "hare", "SEQ010", "SH010", "compositing", "v001")
        path = ("hare", "SEQ010", "SH010", "beauty")
        folder = "/mnt/projects/hare/SEQ010/SH010/comp/beauty"
        sequence_id = self._create(
            "SequenceComponent", path, name="beauty", file_type=".exr", padding=4, version_id=version_id
        )
        for frame in range(1001, 1006):
            name = str(frame)
            member_id = self._create(
                "FileComponent", (*path, name), name=name, file_type=".exr", size=4_194_304,
                container_id=sequence_id,
            )  # fmt: skip
            self._create(
                "ComponentLocation", (*path, name), component_id=member_id,
                location_id=UNMANAGED_LOCATION, resource_identifier=f"{folder}.{frame}.exr",
            )  # fmt: skip
        self._create(
            "ComponentLocation", path, component_id=sequence_id, location_id=UNMANAGED_LOCATION,
            resource_identifier=f"{folder}.%04d.exr",
        )  # fmt: skip
        self._transaction.update("AssetVersion", [version_id], {"status_id": PENDING_REVIEW})
        approved = seed_id("AssetVersion", "hare", "SEQ010", "SH010", "animation", "v003")
        self._transaction.update("AssetVersion", [approved], {"status_id": CLIENT_APPROVED})
