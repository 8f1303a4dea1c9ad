"""A journal that is damaged, full, locked, read-only or from the future: typed errors, and never a silent
wrong answer.
"""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ftrackd.delivery import Recipient, SqliteJournal
from ftrackd.delivery.errors import (
    JournalCorruptError,
    JournalError,
    JournalFullError,
    JournalLockedError,
    JournalRemovedError,
    JournalUnavailableError,
    JournalVersionError,
)
from ftrackd.delivery.journal import NewDeliveries, NewEvent
from tests.unit.delivery.running import RunningDelivery, eventually, update

ROOT = Path(__file__).parents[3]
LEASE_S = 30.0


def fill(journal, events=60):
    """Events of which a third is closed, a third parked and a third open."""
    for number in range(events):
        with journal.transaction() as transaction:
            payload = b'{"number": %d, "text": "%s"}' % (number, b"x" * 300)
            event = NewEvent(f"e{number}", "ftrack.update", payload)
            transaction.append(event, [NewDeliveries(("p",), (f"k{number}",))])
    with journal.transaction() as transaction:
        claims = transaction.claim("p", "one", 1000, 1000, LEASE_S)
        for number, claim in enumerate(claims):
            if number % 3 == 0:
                transaction.close([claim])
            elif number % 3 == 1:
                transaction.park(claim.delivery_id, claim.token, "as told", None, False)
            else:
                transaction.release(claim.delivery_id, claim.token)


def picture(journal):
    """Everything that a reader can learn, in comparable form."""
    letters = [
        (letter.event_id, letter.plugin, letter.payload, letter.attempts) for letter in journal.dead_letters()
    ]
    with journal.transaction() as transaction:
        claims = transaction.claim("p", "reader", 1000, 1000, LEASE_S)
        for claim in claims:
            transaction.release(claim.delivery_id, claim.token)
    waiting = [(claim.event_id, claim.payload, claim.keys, claim.attempt) for claim in claims]
    closed = [f"e{n}" for n in range(60) if journal.seen(f"e{n}")]
    return letters, waiting, closed


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder with a journal as kill -9 leaves it, its log not in the file yet, and what is in it."""
    folder = tmp_path_factory.mktemp("sound")
    journal = SqliteJournal(folder / "source.sqlite", checkpoint_every=120)
    fill(journal)
    for suffix in ("", "-wal"):
        shutil.copy(folder / f"source.sqlite{suffix}", folder / f"journal.sqlite{suffix}")
    seen = picture(journal)
    journal.close()
    assert (folder / "journal.sqlite-wal").stat().st_size > 50_000
    assert (folder / "journal.sqlite").stat().st_size > 20_000
    return folder, seen


def copy_of(sound, folder):
    folder.mkdir(exist_ok=True)
    for name in ("journal.sqlite", "journal.sqlite-wal"):
        shutil.copy(sound[0] / name, folder / name)
    return folder / "journal.sqlite"


def set_aside(folder):
    return [
        path
        for path in folder.iterdir()
        if ".corrupt-" in path.name and not path.name.endswith(("-wal", "-shm"))
    ]


def damage(path, rand):
    """Flip a bit, zero a stretch, or cut the file off."""
    size = path.stat().st_size
    how = rand.choice(["flip", "flip", "flip", "zero", "cut"])
    with path.open("r+b") as stream:
        if how == "flip":
            position = rand.randrange(size)
            stream.seek(position)
            value = stream.read(1)[0] ^ (1 << rand.randrange(8))
            stream.seek(position)
            stream.write(bytes([value]))
        elif how == "zero":
            stream.seek(rand.randrange(max(1, size // 4096)) * 4096)
            stream.write(b"\0" * 4096)
        else:
            stream.truncate(rand.randrange(size))
    return how


def test_when_intact_then_it_opens_with_everything(sound, tmp_path):
    journal = SqliteJournal(copy_of(sound, tmp_path))
    assert journal.salvage is None
    assert picture(journal) == sound[1]
    journal.close()


@pytest.mark.parametrize("seed", range(40))
def test_when_a_byte_is_damaged_then_the_answer_is_right_or_the_file_is_set_aside(sound, tmp_path, seed):
    """Either everything is as it was, or the damage is known and what is still said is true."""
    rand = random.Random(seed)
    path = copy_of(sound, tmp_path)
    target = path if seed % 2 else path.with_name("journal.sqlite-wal")
    how = damage(target, rand)
    try:
        journal = SqliteJournal(path)
    except JournalError as error:
        # The bytes that say whose file this is, and of which version: it is refused, and left as it is.
        assert "left as it is" in str(error)
        assert not set_aside(tmp_path)
        return
    try:
        letters, waiting, closed = picture(journal)
        salvage = journal.salvage
    finally:
        journal.close()
    if salvage is None:
        # The last commit of the log cannot be told from one that was being written when the power went.
        lost_tail = target != path and (letters, waiting, closed) != sound[1]
        assert not set_aside(tmp_path)
        assert (letters, waiting, closed) == sound[1] or lost_tail, f"silently wrong after {how}"
        if lost_tail:
            assert closed == sound[1][2], "only the very last transaction may be missing"
        return
    assert set_aside(tmp_path) == [salvage.path]
    known = {event_id: payload for event_id, payload, _, _ in sound[1][1]}
    assert all(payload == known.get(event_id, payload) for event_id, payload, _, _ in waiting)
    assert len(waiting) <= 60
    assert len({event_id for event_id, *_ in waiting}) == len(waiting)


def test_when_pages_are_gone_then_the_rest_is_salvaged(sound, tmp_path):
    path = copy_of(sound, tmp_path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    content = path.read_bytes()
    pages = [start for start in range(0, len(content), 4096) if b'{"number"' in content[start : start + 4096]]
    with path.open("r+b") as stream:
        stream.seek(pages[len(pages) // 2])
        stream.write(random.Random(1).randbytes(4096))
    journal = SqliteJournal(path)
    assert journal.salvage is not None
    assert 40 <= journal.salvage.events < 60
    assert journal.salvage.unreadable > 0
    journal.close()
    again = SqliteJournal(path)
    assert again.salvage is None, "the new journal is sound"
    again.close()


@pytest.mark.parametrize(
    "content", [b"no database at all, but a text that is long enough to be one" * 100, b"\0" * 8192]
)
def test_when_the_file_is_no_database_then_it_is_set_aside_and_kept(tmp_path, content):
    path = tmp_path / "journal.sqlite"
    path.write_bytes(content)
    journal = SqliteJournal(path)
    journal.close()
    (aside,) = set_aside(tmp_path)
    assert aside.read_bytes() == content
    assert journal.salvage.events == 0


def test_when_a_row_is_changed_by_hand_then_it_is_noticed(sound, tmp_path):
    path = copy_of(sound, tmp_path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE delivery SET state = 5 WHERE state = 0 AND id % 2 = 0")
    connection.commit()
    connection.close()
    journal = SqliteJournal(path)
    assert "not what was stored" in journal.salvage.reason
    journal.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE event SET payload = x'00' WHERE id = 'e7'",
        "UPDATE delivery SET replayed = 'x' WHERE id = 8",
        "UPDATE delivery SET attempts = 'x' WHERE id = 8",
    ],
)
def test_when_the_damage_shows_while_it_runs_then_it_is_replaced_and_goes_on(tmp_path, damage):
    journal = SqliteJournal(tmp_path / "journal.sqlite")
    with RunningDelivery(journal) as running:
        for number in range(20):
            # So large that it is not kept in memory, where it would still be sound.
            running.receive(number, f"x{number}", note="x" * 40_000)
        running.delivery.flush()
        other = sqlite3.connect(journal.path)
        other.create_function("delivery_checksum", 8, lambda *_: 0)
        other.execute(damage)
        other.commit()
        other.close()
        running.runner.automatic = True
        running.delivery.plugin_ready("p", 1)
        eventually(lambda: len(running.runner.events()) == 19)
        assert "e7" not in running.runner.events()
        running.receive(99)
        eventually(lambda: running.runner.events()[-1] == "e99")
        eventually(lambda: running.delivery.health.degraded is None)
        degraded = [call[1].degraded for call in running.listener.named("health_changed")]
        assert "damaged" in degraded[0]
        assert degraded[-1] is None
        assert len(set_aside(tmp_path)) == 1


@pytest.mark.parametrize("pattern", ["journal.sqlite", "journal.sqlite*"])
def test_when_the_file_is_removed_while_it_runs_then_it_is_written_anew_with_everything(tmp_path, pattern):
    path = tmp_path / "journal.sqlite"
    journal = SqliteJournal(path)
    with RunningDelivery(journal) as running:
        for number in range(20):
            running.receive(number, f"x{number}")
        running.delivery.flush()
        for file in tmp_path.glob(pattern):
            file.unlink()
        running.receive(20)
        running.delivery.flush()
        reasons = [call[1].degraded for call in running.listener.named("health_changed")]
        assert "was removed or replaced" in reasons[0]
        assert reasons[-1] is None
        with pytest.raises(JournalLockedError):
            SqliteJournal(path)
    again = SqliteJournal(path)
    assert again.salvage is None
    assert again.stats().plugins[0].ready == 21
    again.close()


def test_when_another_file_is_put_in_its_place_then_that_is_kept_and_ours_goes_on(tmp_path):
    path = tmp_path / "journal.sqlite"
    journal = SqliteJournal(path)
    fill(journal)
    other = tmp_path / "other"
    other.write_bytes(b"somebody's backup")
    other.replace(path)
    with pytest.raises(JournalRemovedError, match="replaced"), journal.transaction():
        pass
    journal.repair("as told")
    assert journal.stats().events == 60
    with journal.transaction() as transaction:
        transaction.remember("it", "works")
    journal.close()
    assert [file.read_bytes() for file in set_aside(tmp_path)] == [b"somebody's backup"]
    again = SqliteJournal(path)
    assert again.salvage is None
    assert (again.stats().events, again.recall("it")) == (60, "works")
    again.close()


def test_when_its_folder_is_removed_while_it_runs_then_events_wait_until_there_is_one(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    with RunningDelivery(SqliteJournal(folder / "journal.sqlite")) as running:
        running.receive(0)
        running.delivery.flush()
        shutil.rmtree(folder)
        running.receive(1)
        eventually(lambda: running.delivery.health.degraded is not None)
        folder.mkdir()
        eventually(lambda: running.delivery.health.degraded is None, "well again", 5)
        running.runner.automatic = True
        running.delivery.plugin_ready("p", 1)
        eventually(lambda: running.runner.events() == ["e0", "e1"])
    again = SqliteJournal(folder / "journal.sqlite")
    assert again.stats().events == 2
    again.close()


def test_when_a_large_journal_is_damaged_then_it_is_found_while_it_runs(tmp_path):
    path = tmp_path / "journal.sqlite"
    journal = SqliteJournal(path)
    fill(journal)
    journal.close()
    connection = sqlite3.connect(path)
    connection.execute(
        "UPDATE event SET payload = x'00' WHERE id = 'e0'"
    )  # closed: no claim will ever read it
    connection.commit()
    connection.close()
    journal = SqliteJournal(path, check_at_open_bytes=0)
    journal._inspection.join()
    with pytest.raises(JournalCorruptError, match="row 1 of event"), journal.transaction():
        pass
    journal.repair("as told")
    assert journal.stats().events == 59
    with journal.transaction() as transaction:
        transaction.remember("it", "works")
    journal.close()


def test_when_a_large_journal_is_sound_then_nothing_is_said_and_it_can_be_closed_at_once(tmp_path):
    path = tmp_path / "journal.sqlite"
    journal = SqliteJournal(path)
    fill(journal)
    journal.close()
    SqliteJournal(path, check_at_open_bytes=0).close()
    journal = SqliteJournal(path, check_at_open_bytes=0)
    journal._inspection.join()
    assert journal._inspection.damage is None
    journal.close()


def test_when_two_open_it_then_the_second_is_told_who_has_it(tmp_path):
    first = SqliteJournal(tmp_path / "journal.sqlite")
    with pytest.raises(JournalLockedError, match=rf"process {os.getpid()}"):
        SqliteJournal(tmp_path / "journal.sqlite")
    first.close()
    SqliteJournal(tmp_path / "journal.sqlite").close()


def test_when_a_newer_ftrackd_wrote_it_then_it_is_left_alone(tmp_path):
    path = tmp_path / "journal.sqlite"
    SqliteJournal(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(JournalVersionError, match="newer ftrackd"):
        SqliteJournal(path)
    assert path.read_bytes() == before
    assert not set_aside(tmp_path)


@pytest.mark.parametrize("text", ["[1,", '["x", 999999, 1]', "null", '{"a": 1}', ""])
def test_when_the_text_of_what_was_claimed_is_damaged_then_everything_is_offered_again(tmp_path, text):
    """It costs an attempt more or less, and no delivery."""
    path = tmp_path / "journal.sqlite"
    journal = SqliteJournal(path)
    with journal.transaction() as transaction:
        for number in range(4):
            transaction.append(NewEvent(f"e{number}", "t", b"{}"), [NewDeliveries(("p",))])
        transaction.claim("p", "one", 2, 2, LEASE_S)
    journal.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE lease SET deliveries = ?", (text,))
    connection.commit()
    connection.close()

    journal = SqliteJournal(path)
    (backlog,) = journal.stats().plugins
    assert backlog.ready + backlog.claimed == 4
    with journal.transaction() as transaction:
        transaction.reclaim(5, False)
    with journal.transaction() as transaction:
        claims = transaction.claim("p", "two", 10, 10, LEASE_S)
        assert [claim.event_id for claim in claims] == ["e0", "e1", "e2", "e3"]
        assert transaction.close(claims) == []
    assert journal.stats().plugins == ()
    journal.close()


AS_VERSION_2_HAD_IT = """
DROP TABLE lease;
ALTER TABLE delivery ADD COLUMN token INTEGER NOT NULL DEFAULT 7;
ALTER TABLE delivery ADD COLUMN owner TEXT;
ALTER TABLE delivery ADD COLUMN lease_until REAL;
CREATE INDEX delivery_claimed ON delivery (owner) WHERE state = 1;
UPDATE delivery SET checksum = id;
UPDATE delivery SET state = 1, owner = 'gone', lease_until = 1e12 WHERE id = 3;
"""


@pytest.mark.parametrize("version", [1, 2])
def test_when_an_earlier_ftrackd_wrote_it_then_it_is_taken_over_with_everything(tmp_path, version):
    path = tmp_path / "journal.sqlite"
    journal = SqliteJournal(path)
    fill(journal)
    letters, waiting, seen = picture(journal)
    journal.close()
    connection = sqlite3.connect(path)
    connection.executescript(f"{AS_VERSION_2_HAD_IT}PRAGMA user_version = {version}")
    connection.close()

    journal = SqliteJournal(path)
    assert journal.salvage is None
    with journal.transaction() as transaction:
        assert [claimed.event_id for claimed in transaction.reclaim(5, False)] == ["e2"]
    counted = [(*one[:3], 2 if one[0] == "e2" else one[3]) for one in waiting]
    for _ in range(2):
        assert picture(journal) == (letters, counted, seen)
        journal.close()
        journal = SqliteJournal(path)
        assert journal.salvage is None
    journal.close()


def test_when_it_is_somebody_elses_database_then_it_is_left_alone(tmp_path):
    path = tmp_path / "journal.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE precious (value)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="not a journal"):
        SqliteJournal(path)
    assert path.read_bytes() == before


def test_when_the_folder_is_missing_then_the_error_names_it(tmp_path):
    with pytest.raises(JournalUnavailableError, match="missing does not exist"):
        SqliteJournal(tmp_path / "missing" / "journal.sqlite")


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from ftrackd.delivery import SqliteJournal
from ftrackd.delivery.errors import JournalError
os.setgid(65534); os.setuid(65534)
try:
    SqliteJournal(Path(sys.argv[1]))
except JournalError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become somebody who may do less")
@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o755, 0o644), (0o777, 0o444), (0o777, 0o000)])
def test_when_it_may_not_be_written_then_the_error_says_what_to_mend(folder_mode, file_mode):
    # Not pytest's folder: nobody but its owner may enter that.
    folder = Path(os.path.realpath("/tmp")) / f"ftrackd-journal-{os.getpid()}-{folder_mode:o}-{file_mode:o}"
    folder.mkdir()
    try:
        path = folder / "journal.sqlite"
        SqliteJournal(path).close()
        path.with_name("journal.sqlite.lock").unlink()
        path.chmod(file_mode)
        folder.chmod(folder_mode)
        before = path.read_bytes()
        finished = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.stdout.startswith("JournalUnavailableError"), finished.stderr
        assert str(folder) in finished.stdout
        assert finished.stdout.count("\n") == 1
        assert path.read_bytes() == before
    finally:
        shutil.rmtree(folder)


class SmallDisk:
    """A file system of a few megabytes.

    Not in a folder of pytest's: what a killed run leaves mounted would end the next ones when they tidy up.
    """

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ftrackd-disk-"))
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(self.folder)],
            capture_output=True,
            check=False,
        )
        if mounted.returncode:
            self.folder.rmdir()
            pytest.skip("cannot mount a small file system here")
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", str(self.folder)], check=True)
        self.folder.rmdir()

    def fill(self):
        with (self.folder / "ballast").open("wb", buffering=0) as stream:
            try:
                while True:
                    stream.write(b"x" * 4096)
            except OSError:
                pass

    def free(self):
        (self.folder / "ballast").unlink()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to mount a small file system")
def test_when_the_disk_is_full_then_events_wait_in_memory_until_there_is_room():
    with SmallDisk() as disk:
        journal = SqliteJournal(disk.folder / "journal.sqlite")
        with RunningDelivery(journal, intake_limit=100) as running:
            running.delivery.plugin_ready("p", 1)
            running.runner.automatic = True
            running.receive(0)
            eventually(lambda: running.runner.events() == ["e0"])
            disk.fill()
            raw, event = update(1, "big", text="x" * 200_000)
            running.delivery.receive(raw, event, [Recipient("p")])
            eventually(lambda: running.delivery.health.degraded)
            assert "make room" in running.delivery.health.degraded
            for number in range(2, 120):
                running.receive(number, "x")
            assert running.delivery.health.lost > 0, "more than memory is allowed to take"
            assert running.delivery.health.waiting == 100
            assert not running.delivery.drain(0.05), "it knows that something is not on disk"
            running.delivery._dispatcher._lane.draining = False
            disk.free()
            eventually(lambda: running.delivery.health.degraded is None, "well again", 5)
            eventually(lambda: len(running.runner.events()) == 101)
            assert running.runner.events() == [f"e{number}" for number in range(101)]
        SqliteJournal(disk.folder / "journal.sqlite").close()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to mount a small file system")
def test_when_the_disk_is_full_then_the_error_is_typed_and_what_was_stored_stays(tmp_path):
    with SmallDisk() as disk:
        journal = SqliteJournal(disk.folder / "journal.sqlite")
        stored = 0
        with pytest.raises(JournalFullError, match="make room"):
            while True:
                with journal.transaction() as transaction:
                    transaction.append(
                        NewEvent(f"e{stored}", "t", os.urandom(20_000)), [NewDeliveries(("p",))]
                    )
                stored += 1
        journal.close()
        disk.folder.joinpath("journal.sqlite.lock").unlink()
        shutil.copytree(disk.folder, tmp_path / "roomy")
        again = SqliteJournal(tmp_path / "roomy" / "journal.sqlite")
        assert again.salvage is None
        assert again.stats().events == stored > 10
        again.close()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to mount a small file system")
def test_when_the_disk_is_full_at_the_start_then_the_error_says_to_make_room():
    with SmallDisk() as disk:
        SqliteJournal(disk.folder / "journal.sqlite").close()
        disk.fill()
        with pytest.raises(JournalFullError, match="make room"):
            SqliteJournal(disk.folder / "journal.sqlite")
        disk.free()
        SqliteJournal(disk.folder / "journal.sqlite").close()


def test_when_a_file_size_limit_is_reached_then_the_error_is_typed_too(tmp_path):
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from ftrackd.delivery import SqliteJournal\n"
        "from ftrackd.delivery.errors import JournalFullError\n"
        "from ftrackd.delivery.journal import NewDeliveries, NewEvent\n"
        "journal = SqliteJournal(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "try:\n"
        "    for number in range(1000):\n"
        "        with journal.transaction() as transaction:\n"
        "            transaction.append(NewEvent(str(number), 't', bytes(5000)), [NewDeliveries(('p',))])\n"
        "except JournalFullError:\n"
        "    print('full')\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "journal.sqlite")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.stdout == "full\n", finished.stderr


def test_when_a_journal_in_memory_is_to_be_repaired_then_it_says_that_it_cannot():
    running = RunningDelivery()
    with pytest.raises(JournalError):
        running.journal.repair("x")
    assert issubclass(JournalCorruptError, JournalError)
