"""Extensions of the daemon."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pluggy
import pytest
from structlog.testing import capture_logs

from ftrackd.daemon.hooks import Hooks, HookSpecifications, hookimpl
from ftrackd.daemon.lifecycle import State
from ftrackd.daemon.metrics import Metrics
from ftrackd.hosting import HostedOutcome


class Recorder:
    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    @hookimpl
    def deliveries_done(self, plugin: str, outcomes: Sequence[HostedOutcome]) -> None:
        self.seen += [(plugin, outcome.status) for outcome in outcomes]

    @hookimpl
    def shutdown(self) -> None:
        self.seen.append(("shutdown", None))


class Broken:
    @hookimpl
    def deliveries_done(self) -> None:
        raise RuntimeError("not today")


def test_an_extension_that_raises_does_not_keep_another_from_its_call() -> None:
    hooks, recorder = Hooks(), Recorder()
    hooks.register(recorder, "recorder")
    hooks.register(Broken(), "broken")
    hooks.call("deliveries_done", plugin="p", outcomes=[HostedOutcome(1, 1, "returned", seconds=1)])
    hooks.call("shutdown")
    assert recorder.seen == [("p", "returned"), ("shutdown", None)]


def test_an_installed_extension_that_cannot_be_loaded_is_named_and_the_others_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = {
        "a_misses": "import no_such_module",
        "b_leaves": "import sys\nsys.exit('no licence')",
        "c_misfits": "@hookimpl\ndef shutdown(colour): ...",
        "d_works": "seen = []\n@hookimpl\ndef shutdown():\n    seen.append(1)\n    raise SystemExit",
    }
    information = tmp_path / "studio-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: studio\nVersion: 1.0\n")
    points = "\n".join(f"{name} = {name}" for name in modules)
    (information / "entry_points.txt").write_text(f"[ftrackd.extensions]\n{points}\n")
    for name, text in modules.items():
        (tmp_path / f"{name}.py").write_text(f"from ftrackd.daemon.hooks import hookimpl\n{text}\n")
    monkeypatch.syspath_prepend(tmp_path)
    hooks = Hooks()
    with capture_logs() as logs:
        hooks.load_installed()
        hooks.call("shutdown")
    left_out = [entry["extension"] for entry in logs if entry["event"] == "extension could not be loaded"]
    assert left_out == ["a_misses", "b_leaves", "c_misfits"]
    assert [entry["extension"] for entry in logs if entry["event"] == "extension failed"] == ["d_works"]
    assert sys.modules["d_works"].seen == [1]


def test_an_extension_with_unknown_arguments_is_refused_at_registration() -> None:
    class Wrong:
        @hookimpl
        def shutdown(self, colour: str) -> None: ...

    with pytest.raises(pluggy.PluginValidationError, match="colour"):
        Hooks().register(Wrong(), "wrong")


def test_each_hook_is_documented() -> None:
    for name, function in vars(HookSpecifications).items():
        if not name.startswith("_"):
            assert function.__doc__, name


def test_metrics_are_an_extension_like_others() -> None:
    hooks = Hooks()
    metrics = Metrics({"ftrackd_open_deliveries": ("Open", lambda: 3.0)})
    hooks.register(metrics, "metrics")
    hooks.call("state_changed", state=State.LIVE, degradations={})
    hooks.call("event_received", event={"topic": "ftrack.update"}, plugins=["p"], replayed=False)
    hooks.call("event_received", event={"topic": "studio.x"}, plugins=["p"], replayed=False)
    for status, seconds in (("raised", 0.2), ("returned", 0.001), ("returned", 0.0011), ("returned", 1000)):
        hooks.call("deliveries_done", plugin="p", outcomes=[HostedOutcome(1, 1, status, seconds=seconds)])
    text = metrics.render()
    assert 'ftrackd_state{state="live"} 1.0' in text
    assert 'ftrackd_deliveries_total{plugin="p",status="raised"} 1.0' in text
    assert 'ftrackd_deliveries_total{plugin="p",status="returned"} 3.0' in text
    durations = {"0.001": 1, "0.003": 2, "0.1": 2, "0.3": 3, "300.0": 3, "+Inf": 4}
    for bound, count in durations.items():
        assert f'ftrackd_delivery_seconds_bucket{{le="{bound}",plugin="p"}} {count}.0' in text
    assert 'ftrackd_delivery_seconds_count{plugin="p"} 4.0' in text
    assert 'ftrackd_events_received_total{topic="other"} 1.0' in text
    assert "ftrackd_open_deliveries 3.0" in text
