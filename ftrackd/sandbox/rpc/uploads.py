"""Actions about bytes: permission to upload, joining of parts, signed addresses, encoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ftrackd.sandbox.errors import EntityNotFoundError, ValidationError
from ftrackd.sandbox.files import encoder
from ftrackd.sandbox.files.links import UPLOAD_PATH
from ftrackd.sandbox.files.names import media_type
from ftrackd.sandbox.files.store import MAXIMUM_PARTS
from ftrackd.sandbox.rpc import operation as member
from ftrackd.sandbox.rpc.batch import Batch
from ftrackd.sandbox.rpc.operation import Operation


def _get_upload_metadata(batch: Batch, operation: Operation) -> dict[str, Any]:
    """Answer where the bytes of a component go: one address, or one for each part."""
    component_id = member.text(operation, "component_id")
    file_name = member.text(operation, "file_name")
    size = member.count(operation, "file_size")
    checksum = member.optional_text(operation, "checksum")
    parts = member.count(operation, "parts")
    batch.services.files.path(component_id)
    if parts is not None and parts > 1:
        return _upload_in_parts(batch, component_id, parts)
    parameters = {"id": component_id}
    headers = {"Content-Type": media_type(file_name)}
    if size is not None:
        parameters["size"] = str(size)
        headers["Content-Length"] = str(size)
    if checksum is not None:
        parameters["checksum"] = checksum
        headers["Content-MD5"] = checksum
    address = batch.options.server_url + batch.services.signer.sign(UPLOAD_PATH, parameters)
    return {"action": "get_upload_metadata", "component_id": component_id, "url": address, "headers": headers}


def _upload_in_parts(batch: Batch, component_id: str, parts: int) -> dict[str, Any]:
    if parts > MAXIMUM_PARTS:
        raise ValidationError(f"An upload has at most {MAXIMUM_PARTS} parts, not {parts}.")
    upload_id = batch.services.files.begin_parts()
    urls = []
    for number in range(1, parts + 1):
        parameters = {"id": component_id, "upload_id": upload_id, "part": str(number)}
        address = batch.options.server_url + batch.services.signer.sign(UPLOAD_PATH, parameters)
        urls.append({"part_number": number, "signed_url": address})
    return {
        "action": "get_upload_metadata",
        "component_id": component_id,
        "upload_id": upload_id,
        "urls": urls,
    }


def _complete_multipart_upload(batch: Batch, operation: Operation) -> dict[str, Any]:
    component_id = member.text(operation, "component_id")
    parts = operation.get("parts")
    if not isinstance(parts, list) or not parts:
        raise ValidationError(
            "complete_multipart_upload needs the list of 'parts', each with number and tag."
        )
    pairs = []
    for part in parts:
        number = part.get("part_number") if isinstance(part, dict) else None
        tag = part.get("e_tag") if isinstance(part, dict) else None
        if not isinstance(number, int) or not isinstance(tag, str):
            raise ValidationError("Each of the 'parts' needs a part_number and an e_tag.")
        pairs.append((number, tag))
    batch.services.files.complete_parts(member.text(operation, "upload_id"), component_id, pairs)
    return {
        "action": "complete_multipart_upload",
        "component_id": component_id,
        "url": batch.links.download(component_id),
    }


def _generate_signed_url(batch: Batch, operation: Operation) -> dict[str, Any]:
    component_id = member.text(operation, "component_id")
    batch.services.files.path(component_id)
    return {"signed_url": batch.links.download(component_id)}


def _encode_media(batch: Batch, operation: Operation) -> dict[str, Any]:
    """Create the job, which the built-in encoder carries out once this request is committed."""
    component_id = member.text(operation, "component_id")
    version_id = member.optional_text(operation, "version_id")
    component = batch.load("FileComponent", [(component_id,)], ["name", "file_type", "version_id"])
    if not component:
        raise EntityNotFoundError(f"There is no FileComponent {component_id}.")
    if version_id is not None and not batch.load("AssetVersion", [(version_id,)], ["id"]):
        raise EntityNotFoundError(f"There is no AssetVersion {version_id}.")
    task = encoder.EncodingTask.begin(
        batch.transaction,
        actor=batch.actor,
        component=component[(component_id,)],
        version_id=version_id,
        keep_original=bool(operation.get("keep_original")),
        has_bytes=batch.services.files.exists(component_id),
    )
    batch.after_commit.append(lambda: batch.services.encode(task))
    return {"action": "encode_media", "job_id": task.job_id}


ACTIONS: Final[Mapping[str, Callable[[Batch, Operation], Any]]] = {
    "get_upload_metadata": _get_upload_metadata,
    "complete_multipart_upload": _complete_multipart_upload,
    "_generate_signed_url": _generate_signed_url,
    "generate_signed_url": _generate_signed_url,
    "encode_media": _encode_media,
}
