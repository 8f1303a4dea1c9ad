"""Bytes of components: upload, download, thumbnails, encoding."""
