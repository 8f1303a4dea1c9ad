"""What exists is documented, and what is documented exists."""

import re
from pathlib import Path

import typer.main

from ftrackd.daemon.hooks import HookSpecifications
from ftrackd.daemon.metrics import Metrics
from ftrackd.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PAGES = {path: path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
EVERYTHING = "\n".join(PAGES.values())


def test_every_command_is_named_in_the_documentation() -> None:
    from ftrackd.cli.app import app

    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        assert re.search(rf"ftrackd {name}\b", EVERYTHING), f"ftrackd {name}"


def test_every_hook_and_metric_is_in_the_page_for_operators() -> None:
    operating = PAGES[ROOT / "docs/operating.md"]
    for name in vars(HookSpecifications):
        if not name.startswith("_"):
            assert f"`{name}`" in operating, name
    metrics = Metrics({})
    for family in re.findall(r"^# TYPE (\w+) (?:counter|gauge|histogram)", metrics.render(), re.MULTILINE):
        if not family.endswith("_created"):
            assert family in operating, family


def test_every_setting_that_is_named_exists() -> None:
    sections = "|".join(Settings.model_fields)
    known = {
        f"{section}.{name}"
        for section, described in Settings.model_fields.items()
        for name in getattr(described.annotation, "model_fields", {})
    }
    for page, text in PAGES.items():
        for section, name in re.findall(rf"`({sections})\.(\w+)`", text):
            # `hub.state` and `daemon.log` are attributes of objects, on the pages about these objects.
            if section not in ("plugins", "groups") and page.name not in ("event-hub.md", "testing.md"):
                assert f"{section}.{name}" in known, f"{page.name}: {section}.{name}"


def test_every_link_leads_somewhere() -> None:
    for page, text in PAGES.items():
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
