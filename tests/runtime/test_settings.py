"""Settings: where a value comes from, what is refused, and what is never printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from runtime.settings import (
    ProcessSettings,
    RuntimeSection,
    Section,
    SettingsError,
    TlsSection,
    load_settings,
)


class ShopSection(Section):
    """A section as a room writes it."""

    shelves: int = 3
    """How many."""
    password: SecretStr = SecretStr("")
    """Opens the door."""


class ShopSettings(ProcessSettings):
    """A process with a section of its own."""

    shop: ShopSection = ShopSection()


@pytest.fixture
def yaml_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "yivideo.yaml"
    monkeypatch.setenv("YIVIDEO_CONFIG", str(path))
    return path


def test_environment_wins_over_yaml_wins_over_defaults(
    yaml_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each value is taken from the first place that has it, field by field inside one section."""
    yaml_file.write_text("runtime: {log_level: error, drain_seconds: 2}\nshop: {shelves: 5}\n")
    monkeypatch.setenv("YIVIDEO_RUNTIME__LOG_LEVEL", "debug")
    settings = load_settings(ShopSettings)
    assert settings.runtime.log_level == "debug"
    assert settings.runtime.drain_seconds == 2
    assert settings.shop.shelves == 5
    assert settings.runtime.max_message_bytes == 4 * 1024 * 1024


def test_an_empty_file_is_all_defaults(yaml_file: Path) -> None:
    """A file with comments only is as good as none."""
    yaml_file.write_text("# nothing yet\n")
    assert load_settings(ShopSettings) == ShopSettings()


def test_sections_of_other_processes_are_ignored(yaml_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file and one environment serve every process."""
    yaml_file.write_text("gateway: {whatever: 1}\nshop: {shelves: 1}\n")
    monkeypatch.setenv("YIVIDEO_SCHEDULER__REDIS", "redis://elsewhere")
    assert load_settings(ShopSettings).shop.shelves == 1


@pytest.mark.parametrize("place", ["yaml", "environment"])
def test_an_unknown_key_in_a_section_is_refused(
    place: str, yaml_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slip in a name is an error that says which name, wherever it stands."""
    yaml_file.write_text("shop: {shelvs: 5}\n" if place == "yaml" else "")
    if place == "environment":
        monkeypatch.setenv("YIVIDEO_SHOP__SHELVS", "5")
    with pytest.raises(SettingsError, match=r"shop\.shelvs"):
        load_settings(ShopSettings)


def test_every_fault_is_listed_and_no_value(yaml_file: Path) -> None:
    """The operator sees all faults at once; what was written in their place is not repeated."""
    yaml_file.write_text(
        "runtime: {log_level: hunter2, drain_seconds: hunter2, token: 'hunter2 with spaces'}\n"
        "shop: {shelves: hunter2, password: [hunter2]}\n"
    )
    with pytest.raises(SettingsError) as caught:
        load_settings(ShopSettings)
    text = str(caught.value)
    for place in (
        "runtime.log_level",
        "runtime.drain_seconds",
        "runtime.token",
        "shop.shelves",
        "shop.password",
    ):
        assert place in text
    assert "hunter2" not in text
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("shop: {password: hunter2\n  - : :\n", "not YAML"),
        ("shop:\n\tpassword: hunter2\n", "line 2"),
        ("- hunter2\n", "settings"),
        ("hunter2\n", "settings"),
        ("shop: hunter2\n", "shop"),
        ("shop:\n", "shop"),
    ],
)
def test_a_broken_file_is_refused_without_quoting_it(yaml_file: Path, content: str, said: str) -> None:
    """A file that is not YAML, or no mapping, ends the process with a reason and none of its text."""
    yaml_file.write_text(content)
    with pytest.raises(SettingsError) as caught:
        load_settings(ShopSettings)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_not_text_is_refused(yaml_file: Path) -> None:
    """Bytes that are no UTF-8 are a reason, not a traceback."""
    yaml_file.write_bytes(b"\xff\xfe\x00shop: \x80")
    with pytest.raises(SettingsError, match="settings"):
        load_settings(ShopSettings)


def test_a_missing_file_is_loud(yaml_file: Path) -> None:
    """A named file that is not there must not mean defaults."""
    with pytest.raises(SettingsError, match=r"yivideo\.yaml.*not a file"):
        load_settings(ShopSettings)


def test_a_broken_variable_is_refused_without_quoting_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A section given as JSON that does not parse names the section only."""
    monkeypatch.setenv("YIVIDEO_SHOP", '{"password": "hunter2"')
    with pytest.raises(SettingsError, match="shop") as caught:
        load_settings(ShopSettings)
    assert "hunter2" not in str(caught.value)


def test_secrets_are_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No way of turning settings into text shows a secret."""
    monkeypatch.setenv("YIVIDEO_RUNTIME__TOKEN", "hunter2")
    monkeypatch.setenv("YIVIDEO_SHOP__PASSWORD", "hunter2")
    settings = load_settings(ShopSettings)
    assert settings.shop.password.get_secret_value() == "hunter2"
    for text in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert "hunter2" not in text


def test_settings_do_not_change() -> None:
    """Settings are read once; assigning to them fails."""
    settings = ShopSettings()
    with pytest.raises(ValidationError):
        settings.shop = ShopSection()
    with pytest.raises(ValidationError):
        settings.shop.shelves = 1


def test_every_setting_says_what_it_is() -> None:
    """The docstring of each field is its description, for the generated settings page."""
    for section in (RuntimeSection, TlsSection, ShopSection):
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"certificate": "a.pem"}, "belong together"),
        ({"private_key": "a.key"}, "belong together"),
        ({"certificate": "a.pem", "private_key": "a.key"}, "authority"),
    ],
)
def test_half_a_tls_configuration_is_refused(given: dict[str, str], said: str) -> None:
    """A certificate without its key, or client certificates without an authority to check them, is no quiet downgrade."""
    with pytest.raises(ValidationError, match=said):
        TlsSection(**given)


@pytest.mark.parametrize("token", ["line\n", "two words", "ü", "\x00"])
def test_a_token_that_cannot_travel_in_a_header_is_refused(token: str) -> None:
    """The usual slip is the line end of a secret's file; it is found at the start."""
    with pytest.raises(ValidationError, match="printable ASCII"):
        RuntimeSection(token=SecretStr(token))
