"""Settings: sources, messages, and the example file that is their documentation."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.errors import SettingsError
from ftrackd.settings import GroupSettings, PluginSettings, Settings
from ftrackd.settings_example import render_example
from ftrackd.settings_file import line_of, load

ROOT = Path(__file__).resolve().parents[3]


def write(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_the_example_file_is_what_the_model_says() -> None:
    assert (ROOT / "config.example.toml").read_text() == render_example(), "run `make config`"


def test_each_setting_is_read_somewhere() -> None:
    """One that is documented and does nothing is worse than none."""
    sources = "\n".join(
        file.read_text()
        for file in (ROOT / "ftrackd").rglob("*.py")
        if file.parent != ROOT / "ftrackd" or not file.name.startswith("settings")
    )
    words = set(re.findall(r"\w+", sources))
    unread = [
        f"{section}.{name}"
        for section, field in Settings.model_fields.items()
        if isinstance(field.annotation, type)
        for name in getattr(field.annotation, "model_fields", {})
        if name not in words
    ]
    assert unread == []


def test_the_example_read_as_it_is_gives_the_defaults(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, render_example()), environment={})
    assert loaded.settings.model_dump() == Settings().model_dump()


def test_each_setting_in_the_example_can_be_uncommented(tmp_path: Path) -> None:
    """Every `# name = value` line is valid TOML for the model and equals the default."""
    lines = []
    for line in render_example().splitlines():
        match = re.fullmatch(r"# (\w+ = (?!\.\.\.).*)", line)
        if line.startswith("["):
            lines.append(line)
        elif match:
            lines.append(match[1])
    assert len(lines) > 40
    loaded = load(write(tmp_path, "\n".join(lines)), environment={})
    assert loaded.settings.model_dump() == Settings().model_dump()


def test_every_setting_is_described() -> None:
    models = [f.annotation for f in Settings.model_fields.values() if hasattr(f.annotation, "model_fields")]
    for model in [*models, PluginSettings, GroupSettings]:
        for name, described in model.model_fields.items():
            assert described.description, f"{model.__name__}.{name}"


def test_stronger_sources_win(tmp_path: Path) -> None:
    path = write(tmp_path, '[server]\nurl = "http://file"\napi_user = "file"\n[daemon]\ndrain_limit_s = 3\n')
    environment = {"FTRACK_SERVER": "http://standard", "FTRACK_API_KEY": "k"}
    settings = load(path, {"hosting": {"plugin_paths": ["/x"]}}, environment).settings
    assert settings.server.url == "http://standard"
    assert settings.server.api_user == "file"
    assert settings.daemon.drain_limit_s == 3
    assert settings.hosting.plugin_paths == [Path("/x")]


def test_own_variables_win_over_standard_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTRACK_SERVER", "http://standard")
    monkeypatch.setenv("FTRACKD_SERVER__URL", "http://own")
    assert load().settings.server.url == "http://own"


def test_a_plugin_path_variable_is_split_and_blanks_are_dropped() -> None:
    settings = load(environment={"FTRACK_EVENT_PLUGIN_PATH": "/a: :/b"}).settings
    assert settings.hosting.plugin_paths == [Path("/a"), Path("/b")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[hosting]\nplugin_path = []\n",
            "line 2: hosting.plugin_path: no such setting (did you mean plugin_paths",
        ),
        ("[hostin]\n", "line 1: hostin: no such setting (did you mean hosting?)"),
        ("hosting = 3\n", "line 1: hosting: should be a section with settings of its own"),
        ("\n[daemon]\ndrain_limit_s = -1\n", "line 3: daemon.drain_limit_s: input should be greater"),
        ('[delivery]\non_park = "drop"\n', "line 2: delivery.on_park: input should be 'release' or 'hold'"),
        ("[server\n", "not valid TOML"),
        (
            "[plugins.x]\nconcurency = 2\n",
            "line 2: plugins.x.concurency: no such setting (did you mean concurrency?)",
        ),
    ],
)
def test_a_mistake_names_file_line_and_setting(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load(path, environment={})
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_wrong_secret_is_not_echoed(tmp_path: Path) -> None:
    path = write(tmp_path, '[server]\napi_key = ["canary-7f"]\n')
    with pytest.raises(SettingsError) as caught:
        load(path, environment={})
    assert "canary-7f" not in str(caught.value)


def test_an_unknown_variable_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"FTRACKD_DEAMON__X.*did you mean daemon"):
        load(environment={"FTRACKD_DEAMON__X": "1"})


def test_a_missing_or_unreadable_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such configuration file"):
        load(tmp_path / "none.toml", environment={})
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load(tmp_path / "binary.toml", environment={})


def test_a_readable_secret_is_warned_about(tmp_path: Path) -> None:
    path = write(tmp_path, '[server]\napi_key = "canary-7f"\n')
    assert load(path, environment={}).warnings == ()
    path.chmod(0o644)
    (warning,) = load(path, environment={}).warnings
    assert "0644" in warning
    assert "canary-7f" not in warning


@given(st.text())
def test_any_text_in_the_file_gives_settings_or_a_typed_error(text: str) -> None:
    """Whatever stands in the file, only SettingsError leaves load()."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            load(path, environment={})
        except SettingsError as error:
            assert str(path) in str(error)


@given(st.text(alphabet="[]ab.=\n \"'"), st.lists(st.sampled_from("ab"), min_size=1, max_size=3))
def test_finding_a_line_never_raises(text: str, path: list[str]) -> None:
    line = line_of(text, path)
    assert line is None or 1 <= line <= len(text.splitlines())


def test_the_example_is_toml() -> None:
    assert set(tomllib.loads(render_example())) == set(Settings.model_fields) - {"plugins", "groups"}
