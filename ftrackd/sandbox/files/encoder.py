"""The built-in encoder behind ``encode_media``: trivial, but it finishes the job as a real one does.

Pictures are scaled to review size; a video is handed on as it is. Either way the review components, their
metadata, the thumbnail and the version's ``encoded`` event come out as clients expect them.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ftrackd.sandbox.auth import Actor
from ftrackd.sandbox.errors import SandboxError
from ftrackd.sandbox.files import picture
from ftrackd.sandbox.files.names import media_type

if TYPE_CHECKING:
    from ftrackd.sandbox.services import Services
    from ftrackd.sandbox.store import Transaction

SERVER_LOCATION_ID: Final = "3a372bde-05bc-11e4-8908-20c9d081909b"
REVIEW_SIZE: Final = 2048
THUMBNAIL_SIZE: Final = 500

# What is not known of a video without decoding it.
_VIDEO_METADATA: Final = {"frameIn": 0, "frameOut": 0, "frameRate": 24.0, "width": 1920, "height": 1080}

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Output:
    """A component that the encoder makes."""

    component_id: str
    name: str
    file_type: str

    @property
    def format(self) -> str:
        """The media type, as the job's data lists it."""
        return media_type(self.file_type)


@dataclass(frozen=True, slots=True)
class Encoded:
    """The bytes of an output and its review metadata, None for a thumbnail."""

    output: Output
    content: bytes
    metadata: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class EncodingTask:
    """One job of the encoder."""

    job_id: str
    actor: Actor
    component_id: str
    version_id: str | None
    keep_original: bool
    kind: str
    review: Output
    thumbnail: Output
    problem: str | None

    @classmethod
    def begin(
        cls,
        transaction: Transaction,
        *,
        actor: Actor,
        component: Mapping[str, Any],
        version_id: str | None,
        keep_original: bool,
        has_bytes: bool,
    ) -> EncodingTask:
        """Create the job, queued, for a FileComponent whose ``name`` and ``file_type`` are loaded."""
        file_type = f".{(component.get('file_type') or '').lstrip('.')}".lower()
        kind = media_type(file_type).partition("/")[0]
        task = cls(
            job_id=str(uuid.uuid4()),
            actor=actor,
            component_id=component["id"],
            version_id=version_id,
            keep_original=keep_original,
            kind=kind,
            review=_review_output(kind),
            thumbnail=Output(str(uuid.uuid4()), "thumbnail", ".jpg"),
            problem=_problem(kind, file_type, has_bytes),
        )
        row = {
            "id": task.job_id,
            "status": "queued",
            "user_id": actor.user_id,
            "data": task.describe(f"Encoding {component.get('name')}{file_type}"),
        }
        transaction.create("Job", row)
        return task

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What the job makes; nothing when it cannot."""
        return () if self.problem else (self.review, self.thumbnail)

    def describe(self, description: str) -> str:
        """Return the job's data as JSON text."""
        output = [{"format": output.format, "component_id": output.component_id} for output in self.outputs]
        data = {
            "source_component_id": self.component_id,
            "keep_original": self.keep_original,
            "output": output,
            "description": description,
        }
        return json.dumps(data)


def _review_output(kind: str) -> Output:
    name, file_type = ("ftrackreview-image", ".jpg") if kind == "image" else ("ftrackreview-mp4", ".mp4")
    return Output(str(uuid.uuid4()), name, file_type)


def _problem(kind: str, file_type: str, has_bytes: bool) -> str | None:
    """Return why a component cannot be encoded, None when it can."""
    if not has_bytes:
        return "The bytes of the component are not on this server; add it to ftrack.server first."
    if kind not in ("image", "video"):
        return f"The sandbox encodes pictures and videos; {file_type!r} is neither."
    return None


class EncodingError(SandboxError):
    """The media cannot be encoded; the job's data say why."""


def run(services: Services, task: EncodingTask) -> None:
    """Carry out *task* and finish its job, ``done`` or ``failed`` with the reason in its data."""
    try:
        try:
            _carry_out(services, task)
        except (SandboxError, picture.NoPictureError, OSError) as error:
            _fail(services, task, str(error))
        except Exception as error:
            # A mistake in the encoder: whoever waits for the job must hear of its end all the same.
            _logger.exception("The job %s failed.", task.job_id)
            _fail(services, task, f"The encoder failed: {type(error).__name__}: {error}")
    except Exception:
        # One job is contained, such as one that was deleted meanwhile; the server goes on.
        _logger.exception("The job %s could not be finished.", task.job_id)


def _fail(services: Services, task: EncodingTask, reason: str) -> None:
    values = {"status": "failed", "data": task.describe(reason), "finished_at": _now()}
    with services.write(task.actor) as transaction:
        transaction.update("Job", [task.job_id], values)


def _carry_out(services: Services, task: EncodingTask) -> None:
    with services.write(task.actor) as transaction:
        transaction.update("Job", [task.job_id], {"status": "running"})
    if task.problem is not None:
        raise EncodingError(task.problem)
    encoded = _encode(services, task)
    with services.write(task.actor) as transaction:
        _finish(transaction, task, encoded)
    if not task.keep_original:
        services.files.remove(task.component_id)
    if task.version_id is not None:
        with services.write(task.actor) as transaction:
            transaction.mark_encoded("AssetVersion", [task.version_id])


def _encode(services: Services, task: EncodingTask) -> list[Encoded]:
    """Make the outputs and store their bytes."""
    path = services.files.path(task.component_id)
    metadata: dict[str, Any]
    if task.kind == "image":
        review = picture.fit(path, REVIEW_SIZE)
        content = review.content
        metadata = {"format": "image", "width": review.width, "height": review.height}
        small = picture.fit(path, THUMBNAIL_SIZE).content
    else:
        content, metadata = path.read_bytes(), dict(_VIDEO_METADATA)
        small = picture.default_picture(THUMBNAIL_SIZE).content
    encoded = [Encoded(task.review, content, metadata), Encoded(task.thumbnail, small, None)]
    for each in encoded:
        services.files.put(each.output.component_id, each.content)
    return encoded


def _finish(transaction: Transaction, task: EncodingTask, encoded: list[Encoded]) -> None:
    """Write the rows of the outputs and end the job."""
    for each in encoded:
        _create_component(transaction, task, each)
    if task.version_id is not None:
        thumbnail = {"thumbnail_id": task.thumbnail.component_id}
        transaction.update("AssetVersion", [task.version_id], thumbnail)
    if not task.keep_original:
        transaction.delete("FileComponent", [task.component_id])
    values = {"status": "done", "data": task.describe("Encoded"), "finished_at": _now()}
    transaction.update("Job", [task.job_id], values)


def _create_component(transaction: Transaction, task: EncodingTask, encoded: Encoded) -> None:
    component_id = encoded.output.component_id
    row = {
        "id": component_id,
        "name": encoded.output.name,
        "file_type": encoded.output.file_type,
        "size": len(encoded.content),
        "version_id": task.version_id,
    }
    transaction.create("FileComponent", row)
    location = {
        "id": str(uuid.uuid4()),
        "component_id": component_id,
        "location_id": SERVER_LOCATION_ID,
        "resource_identifier": component_id,
    }
    transaction.create("ComponentLocation", location)
    transaction.create("JobComponent", {"job_id": task.job_id, "component_id": component_id})
    if encoded.metadata is not None:
        value = json.dumps(encoded.metadata)
        row = {"parent_id": component_id, "parent_type": "FileComponent", "key": "ftr_meta", "value": value}
        transaction.create("Metadata", row)


def _now() -> dict[str, str]:
    value = datetime.now(UTC).replace(tzinfo=None, microsecond=0).isoformat()
    return {"__type__": "datetime", "value": value}
