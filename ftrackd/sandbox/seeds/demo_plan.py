"""What the demo production consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ftrackd.sandbox.seeds.installation import (
    APPROVED,
    AWAITING_APPROVAL,
    IN_PROGRESS,
    NORMAL,
    NOT_STARTED,
    OMITTED,
    ON_HOLD,
)

USERS: Final = (
    ("ada.berg", "Ada", "Berg", "Animation"),
    ("bela.kovac", "Béla", "Kovač", "Animation"),
    ("chen.li", "Chen", "Li", "Lighting and compositing"),
    ("dario.rossi", "Dario", "Rossi", "Lighting and compositing"),
    ("elif.demir", "Elif", "Demir", "Assets"),
)

#: Days from now that a task ends at the latest: what is approved is over, what was published has begun.
LATEST_DUE_DAYS: Final = {APPROVED: -1, AWAITING_APPROVAL: 1, IN_PROGRESS: 2}


@dataclass(frozen=True, slots=True)
class Shot:
    """A shot of the demo."""

    sequence: str
    name: str
    first_frame: int
    last_frame: int
    status: str
    #: Type of the task, its status, days until its end and versions it has.
    tasks: tuple[tuple[str, str, int, int], ...]


HARE_SHOTS: Final = (
    Shot("SEQ010", "SH010", 1001, 1096, NORMAL, (
        ("Previz", APPROVED, -40, 1), ("Animation", APPROVED, -12, 3), ("Lighting", AWAITING_APPROVAL, 1, 2),
        ("Compositing", IN_PROGRESS, 6, 1))),
    Shot("SEQ010", "SH020", 1001, 1048, NORMAL, (
        ("Previz", APPROVED, -38, 1), ("Animation", AWAITING_APPROVAL, -2, 2),
        ("Lighting", IN_PROGRESS, 5, 1), ("Compositing", NOT_STARTED, 12, 0))),
    Shot("SEQ010", "SH030", 1001, 1132, NORMAL, (
        ("Previz", APPROVED, -36, 1), ("Animation", IN_PROGRESS, 4, 2), ("Lighting", NOT_STARTED, 11, 0),
        ("Compositing", NOT_STARTED, 18, 0))),
    Shot("SEQ020", "SH010", 1001, 1064, NORMAL, (
        ("Previz", APPROVED, -20, 2), ("Animation", IN_PROGRESS, 8, 1), ("FX", NOT_STARTED, 15, 0),
        ("Lighting", NOT_STARTED, 20, 0), ("Compositing", NOT_STARTED, 25, 0))),
    Shot("SEQ020", "SH020", 1001, 1072, ON_HOLD, (
        ("Previz", AWAITING_APPROVAL, -3, 1), ("Animation", NOT_STARTED, 14, 0))),
    Shot("SEQ020", "SH030", 1001, 1040, OMITTED, (("Previz", APPROVED, -25, 1),)),
)  # fmt: skip
TEA_SHOTS: Final = (
    Shot("SPOT", "TEA010", 1001, 1050, NORMAL, (
        ("Tracking", APPROVED, -4, 1), ("Compositing", IN_PROGRESS, 3, 2))),
    Shot("SPOT", "TEA020", 1001, 1125, NORMAL, (
        ("Tracking", IN_PROGRESS, 1, 1), ("Compositing", NOT_STARTED, 7, 0))),
    Shot("SPOT", "TEA030", 1001, 1080, NORMAL, (
        ("Tracking", NOT_STARTED, 2, 0), ("Compositing", NOT_STARTED, 9, 0))),
)  # fmt: skip
#: Name, type, task types with status and versions.
HARE_ASSETS: Final = (
    (
        "hare",
        "Character",
        (("Modeling", APPROVED, 3), ("Rigging", APPROVED, 2), ("Lookdev", AWAITING_APPROVAL, 1)),
    ),
    (
        "tortoise",
        "Character",
        (("Modeling", APPROVED, 2), ("Rigging", IN_PROGRESS, 1), ("Lookdev", NOT_STARTED, 0)),
    ),
    ("clock", "Prop", (("Modeling", APPROVED, 1), ("Lookdev", IN_PROGRESS, 1))),
    ("meadow", "Environment", (("Modeling", IN_PROGRESS, 1), ("Matte Painting", NOT_STARTED, 0))),
)
ASSET_TYPES: Final = {
    "Animation": "anim", "Modeling": "geo", "Rigging": "rig", "Lookdev": "geo", "Previz": "anim",
    "Tracking": "cam", "FX": "cache",
}  # fmt: skip


def published() -> list[tuple[tuple[str, ...], int]]:
    """Path of every task that has versions, with their number."""
    found: list[tuple[tuple[str, ...], int]] = []
    for project, shots in (("hare", HARE_SHOTS), ("tea", TEA_SHOTS)):
        for shot in shots:
            for type_name, _, _, count in shot.tasks:
                found.append(((project, shot.sequence, shot.name, task_name(type_name)), count))
    for name, _, tasks in HARE_ASSETS:
        for type_name, _, count in tasks:
            found.append((("hare", "assets", name, task_name(type_name)), count))
    return [(path, count) for path, count in found if count]


def task_name(type_name: str) -> str:
    """Name of the demo's tasks of a type: ``Matte Painting`` -> ``matte_painting``."""
    return type_name.lower().replace(" ", "_")
