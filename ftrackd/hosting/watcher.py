"""Notice that code changed: native notification where it works, polling on network file systems.

Notifications only say when to look. What counts are the contents: a scan hashes the files, and a plugin is
loaded anew when a file that it read has other contents than what it executed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import structlog
from watchdog.events import (
    EVENT_TYPE_CLOSED_NO_WRITE,
    EVENT_TYPE_OPENED,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

from ftrackd.api._plugin_discovery import is_skipped_folder
from ftrackd.hosting.entries import HostedEntry, find_entries
from ftrackd.settings import GroupSettings, HostingSettings, PluginSettings

NETWORK_FILE_SYSTEMS: Final = frozenset(
    (
        *("9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "davfs", "fhgfs", "fuse.davfs2", "fuse.glusterfs"),
        *("fuse.rclone", "fuse.s3fs", "fuse.sshfs", "gluster", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs"),
        *("nfs4", "orangefs", "panfs", "prl_fs", "pvfs2", "smb", "smb2", "smb3", "smbfs", "sshfs", "vboxsf"),
        *("virtiofs", "webdav"),
    )
)
_CODE_SUFFIXES: Final = (".py", ".so", ".pyd")
_RESCAN_S: Final = 30.0
_POLL_S: Final = 1.0
_LINKS_FOLLOWED: Final = 40
_LONGEST_QUIET_FACTOR: Final = 5.0
# A file changed this recently may change again within the resolution of its time stamp.
_RACY_S: Final = 2.0
_log = structlog.stdlib.get_logger("ftrackd.hosting.watcher")
# A thread of watchdog that reads once more while it is stopped calls that an error; it is none.
logging.getLogger("watchdog.observers.inotify").addFilter(
    lambda record: "called when the thread is inactive" not in record.getMessage()
)


@dataclass(frozen=True)
class Scan:
    """What lies on the plugin paths at one moment.

    ``tree`` maps each code file (its real path) to the SHA-256 of its contents, ``modules`` each plugin to
    the real paths of its modules, which change when a link is pointed elsewhere. ``asked`` are the files that
    were looked for by name: one of them that is not in ``tree`` is gone. ``taken_at`` is ``time.monotonic()``
    before the first file was read.
    """

    entries: tuple[HostedEntry, ...]
    tree: Mapping[str, str]
    modules: Mapping[str, tuple[str, ...]]
    asked: frozenset[str] = frozenset()
    taken_at: float = 0.0


class Scanner:
    """Looks at the plugin paths; remembers hashes of files whose facts say that they are unchanged."""

    def __init__(
        self,
        settings: HostingSettings,
        plugin_settings: Mapping[str, PluginSettings],
        groups: Sequence[GroupSettings],
    ) -> None:
        self._settings = settings
        self._plugin_settings = plugin_settings
        self._groups = groups
        self._known: dict[str, tuple[tuple[int, ...], str]] = {}
        # The watcher scans, and whoever asks for a reload.
        self._lock = threading.Lock()
        # Files that plugins executed, wherever they are; replaced as a whole by the host.
        self.executed_files: frozenset[str] = frozenset()
        # Links on the way to plugins, as of the last scan.
        self.links: frozenset[str] = frozenset()

    def scan(self) -> Scan:
        """Return what is there now."""
        with self._lock:
            return self._scan()

    def unknown_plugins(self, scan: Scan) -> list[str]:
        """Return the plugins that the settings name but *scan* has not: misspelt, or not there yet."""
        named = {*self._plugin_settings, *(plugin for group in self._groups for plugin in group.plugins)}
        return sorted(named - {entry.name for entry in scan.entries})

    def _scan(self) -> Scan:
        taken_at = time.monotonic()
        asked = self.executed_files
        entries = tuple(find_entries(self._settings, self._plugin_settings, self._groups))
        paths = set(asked)
        for root in code_roots(self._settings.plugin_paths):
            paths.update(_code_files(root))
        tree = {path: digest for path in paths if (digest := self._digest(path))}
        self._known = {path: self._known[path] for path in tree if path in self._known}
        modules = {
            entry.name: tuple(os.path.realpath(module) for module in entry.source.modules)
            for entry in entries
        }
        ways = {path for entry in entries for path in (entry.source.root, *entry.source.modules)}
        self.links = frozenset(link for way in ways for link in links_on_the_way(os.fspath(way)))
        return Scan(entries, tree, modules, asked, taken_at)

    def _digest(self, path: str) -> str:
        try:
            facts = os.stat(path)
            key = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
            known = self._known.get(path)
            if known is not None and known[0] == key:
                return known[1]
            with open(path, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
        except OSError:
            # It vanished or cannot be read: to whoever loaded it, that is a change.
            return ""
        if time.time() - max(facts.st_mtime, facts.st_ctime) > _RACY_S:
            self._known[path] = (key, digest)
        return digest


class Watcher:
    """Calls *on_scan* with a new :class:`Scan` after each quiet moment that follows a change."""

    def __init__(self, settings: HostingSettings, scanner: Scanner, on_scan: Callable[[Scan], None]) -> None:
        self._settings = settings
        self._scanner = scanner
        self._on_scan = on_scan
        self._changed = threading.Condition()
        self._last_change: float | None = None
        self._is_stopping = False
        self._observers: list[BaseObserver] = []
        self._watched: tuple[tuple[str, bool], ...] = ()
        self._notifier = _Notifier(self.look_again)
        self._thread = threading.Thread(target=self._run, name="ftrackd-watcher", daemon=True)

    def start(self) -> None:
        """Begin to watch, unless the settings say not to."""
        if self._settings.watch:
            self._thread.start()

    def stop(self) -> None:
        """End watching."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def look_again(self) -> None:
        """Scan after the next quiet moment although nothing was noticed."""
        with self._changed:
            self._last_change = time.monotonic()
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            self._watch_folders()
            # What changed between the first scan and now was not noticed by anybody.
            self._scan()
            while self._wait_for_quiet():
                self._scan()
                if self._watch_folders():
                    # What changed while nobody watched was not noticed either.
                    self.look_again()
        finally:
            self._stop_observers()

    def _scan(self) -> None:
        try:
            self._on_scan(self._scanner.scan())
        except OSError as error:
            _log.warning("plugin paths cannot be read", error=str(error))

    def _wait_for_quiet(self) -> bool:
        """Wait for a change and the quiet after it, or for the time of a look in any case."""
        quiet_s = self._settings.watch_quiet_s
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopping or self._last_change is not None, _RESCAN_S)
            began = time.monotonic()
            while not self._is_stopping and self._last_change is not None:
                now = time.monotonic()
                rest = min(self._last_change + quiet_s, began + quiet_s * _LONGEST_QUIET_FACTOR) - now
                if rest <= 0:
                    break
                self._changed.wait(rest)
            self._last_change = None
            return not self._is_stopping

    def _watch_folders(self) -> bool:
        """Watch the folders that matter now; return whether they are others than before."""
        executed = self._scanner.executed_files
        links = self._scanner.links
        wanted = tuple(sorted(_folders_to_watch(self._settings.plugin_paths, {*executed, *links})))
        roots = [os.fspath(root) for root in code_roots(self._settings.plugin_paths)]
        self._notifier.relevant = frozenset((*roots, *map(os.path.realpath, roots), *executed, *links))
        if wanted == self._watched and all(observer.is_alive() for observer in self._observers):
            return False
        self._stop_observers()
        native, polling = Observer(), PollingObserver(timeout=_POLL_S)
        uses = {id(native): 0, id(polling): 0}
        for folder, is_recursive in wanted:
            observer = polling if self._needs_polling(folder) else native
            try:
                observer.schedule(self._notifier, folder, recursive=is_recursive)
                uses[id(observer)] += 1
            except OSError as error:
                _log.warning("folder cannot be watched, looking regularly", folder=folder, error=str(error))
        for observer in (native, polling):
            if uses[id(observer)]:
                self._start_observer(observer)
        self._watched = wanted
        return True

    def _start_observer(self, observer: Any) -> None:
        try:
            observer.start()
        except OSError as error:
            _log.warning("watching fails, looking regularly", error=str(error), every_s=_RESCAN_S)
            return
        self._observers.append(observer)

    def _needs_polling(self, folder: str) -> bool:
        if self._settings.watch_polling is not None:
            return self._settings.watch_polling
        return is_on_network(folder)

    def _stop_observers(self) -> None:
        for observer in self._observers:
            observer.stop()
        for observer in self._observers:
            observer.join()
        self._observers = []


class _Notifier(FileSystemEventHandler):
    """Passes on that something of *relevant* changed; that a file was only read means nothing."""

    def __init__(self, notify: Callable[[], None]) -> None:
        self._notify = notify
        # Replaced as a whole by the watcher.
        self.relevant: frozenset[str] = frozenset()

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in (EVENT_TYPE_OPENED, EVENT_TYPE_CLOSED_NO_WRITE):
            return
        paths = [os.fsdecode(path) for path in (event.src_path, event.dest_path) if path]
        if any(self._matters(path, is_directory=event.is_directory) for path in paths):
            self._notify()

    def _matters(self, path: str, *, is_directory: bool) -> bool:
        if not is_directory and not path.endswith(_CODE_SUFFIXES) and path not in self.relevant:
            return False
        return any(path == root or path.startswith(root + os.sep) for root in self.relevant)


def is_on_network(folder: str, partitions: Iterable[Any] | None = None) -> bool:
    """Return whether *folder* lies on a file system that does not report changes made by other machines."""
    real = os.path.realpath(folder)
    best, kind = "", ""
    for partition in psutil.disk_partitions(all=True) if partitions is None else partitions:
        point = partition.mountpoint
        inside = real == point or real.startswith(point.rstrip(os.sep) + os.sep)
        if inside and len(point) >= len(best):
            best, kind = point, partition.fstype
    return kind.lower() in NETWORK_FILE_SYSTEMS


def links_on_the_way(path: str) -> list[str]:
    """Return the links that the system follows to get to *path*, each with its folder's real path."""
    found: list[str] = []
    here, rest = os.sep, [part for part in os.path.abspath(path).split(os.sep) if part]
    while rest and len(found) < _LINKS_FOLLOWED:
        part = rest.pop(0)
        step = os.path.dirname(here) if part == os.pardir else os.path.join(here, part)
        if not os.path.islink(step):
            here = step
            continue
        found.append(step)
        try:
            target = os.readlink(step)
        except OSError:
            # It was taken away or replaced meanwhile; the next look finds what is there then.
            break
        here = os.sep if os.path.isabs(target) else here
        rest[:0] = [part for part in target.split(os.sep) if part not in ("", os.curdir)]
    return found


def code_roots(paths: Iterable[Path]) -> list[Path]:
    """Return the folders whose code belongs to plugins on *paths*."""
    roots: dict[Path, None] = {}
    for path in paths:
        absolute = Path(os.path.abspath(path))
        if absolute.name == "hook":
            absolute = absolute.parent
        roots[absolute] = None
    return list(roots)


def _code_files(root: Path) -> Iterable[str]:
    if root.is_file():
        # Its helpers lie beside it.
        yield from (os.path.realpath(entry) for entry in root.parent.glob("*.py"))
        return
    for folder, folders, files in os.walk(root, followlinks=False):
        folders[:] = [
            name for name in folders if name == "dependencies" or not is_skipped_folder(Path(folder, name))
        ]
        for name in files:
            if name.endswith(_CODE_SUFFIXES):
                yield os.path.realpath(os.path.join(folder, name))
        for name in list(folders):
            linked = Path(folder, name)
            if linked.is_symlink() and not Path(folder).resolve().is_relative_to(linked.resolve()):
                yield from _code_files(linked.resolve())


def _folders_to_watch(paths: Iterable[Path], files: Iterable[str]) -> set[tuple[str, bool]]:
    folders: set[tuple[str, bool]] = set()
    for root in code_roots(paths):
        real = os.path.realpath(root)
        if os.path.isdir(real):
            folders.add((real, True))
        # The entry itself may be replaced, or appear only later.
        for parent in {str(root.parent), os.path.dirname(real)}:
            if os.path.isdir(parent):
                folders.add((parent, False))
    folders.update((folder, False) for file in files if os.path.isdir(folder := os.path.dirname(file)))
    recursive = tuple(folder for folder, is_recursive in folders if is_recursive)
    return {
        (folder, is_recursive)
        for folder, is_recursive in folders
        if is_recursive or not any(folder == root or folder.startswith(root + os.sep) for root in recursive)
    }
