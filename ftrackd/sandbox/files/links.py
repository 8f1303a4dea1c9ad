"""Addresses of files for clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ftrackd.sandbox.files.signature import Signer

DOWNLOAD_PATH: Final = "/component/get"
THUMBNAIL_PATH: Final = "/component/thumbnail"
UPLOAD_PATH: Final = "/component/upload"


@dataclass(frozen=True, slots=True)
class SignedLinks:
    """Signed addresses below *server_url*, which has no trailing slash."""

    server_url: str
    signer: Signer

    def download(self, component_id: str) -> str:
        """Return where the bytes of a component are fetched."""
        return self.server_url + self.signer.sign(DOWNLOAD_PATH, {"id": component_id})

    def thumbnail(self, component_id: str) -> str:
        """Return where the picture of a component is fetched; clients may add a ``size``."""
        return self.server_url + self.signer.sign(THUMBNAIL_PATH, {"id": component_id})
