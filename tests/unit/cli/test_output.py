"""What people read: helps and tables."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from ftrackd.cli import main, operator_commands
from ftrackd.cli.app import app
from ftrackd.cli.output import print_table
from ftrackd.errors import UsageError


def test_help_keeps_what_looks_like_markup_and_joins_the_lines_of_a_paragraph() -> None:
    shown = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}).output
    assert "or from [server] in the configuration." in shown
    assert "the rest waits in the journal), a second one forces" in shown


def test_a_row_stays_one_line_when_no_terminal_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("plugin", "reason"), [("one", "/a/long/path " * 40)], "none")
    header, row = capsys.readouterr().out.rstrip().split("\n")
    assert header.split() == ["plugin", "reason"]
    assert row.count("/a/long/path") == 40


def test_listing_the_commands_loads_nothing_that_only_some_of_them_need() -> None:
    heavy = ["ftrackd.api", "ftrackd.settings", "ftrackd.sandbox", "pydantic", "rich", "urllib.request"]
    script = f"import sys, ftrackd.cli.app; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_new_refuses_a_name_that_would_not_be_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "plugins"
    for arguments, word in (("test_thing", "taken for a test"), ("a-b", "letters"), ("a --kind odd", "odd")):
        result = CliRunner().invoke(app, ["new", *arguments.split(), "--folder", str(folder)])
        assert isinstance(result.exception, UsageError)
        assert word in str(result.exception)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["dead", "retry"], "--all"),
        (["events", "replay"], "--since"),
        (["fire", "studio.done", "--data", "{bad"], "--data is not JSON"),
        (["run", "--log-level", "loud"], "command line: logging.level: input should be 'debug'"),
    ],
)
def test_what_makes_no_sense_is_a_matter_of_usage(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["ftrackd", *arguments])
    monkeypatch.setenv("FTRACKD_CONFIG", os.devnull)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ftrackd: ")
    assert word in line


def test_plugins_shows_one_line_for_each_and_what_belongs_to_it_below(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = {"pid": None, "memory_bytes": 0, "subscriptions": [], "reason": "", "error": "", "stack": ""}
    listed = [
        {**base, "name": "broken", "state": "disabled", "reason": "raised ValueError\nTraceback:\n  line 2"},
        {**base, "name": "slow", "state": "running", "stack": "Thread 0x1:\n  in handle"},
    ]
    daemon = SimpleNamespace(get=lambda path: listed)
    monkeypatch.setattr(operator_commands, "control_client", lambda config: daemon)
    table, error, stack = CliRunner().invoke(app, ["plugins"]).output.rstrip().split("\n\n")
    assert len(table.splitlines()) == 3
    assert "raised ValueError" in table.splitlines()[1]
    assert error.splitlines() == ["broken: the error", "  Traceback:", "    line 2"]
    assert stack.splitlines()[1:] == ["  Thread 0x1:", "    in handle"]
