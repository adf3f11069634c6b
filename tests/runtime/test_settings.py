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
        settings.shop = ShopSection()  # type: ignore[misc] # what must fail
    with pytest.raises(ValidationError):
        settings.shop.shelves = 1  # type: ignore[misc]


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


class SiteSection(Section):
    """One site of a shop."""

    street: str
    """Where it is."""
    rooms: int = 1
    """How many."""


class DeepSection(Section):
    """A section in a section."""

    most_open: int = 2
    """How many."""


class MarketSection(Section):
    """A section as a room writes it, with all that one can have."""

    sites: tuple[SiteSection, ...] = ()
    """Where it is."""
    limits: DeepSection = DeepSection()
    """How much."""


class MarketSettings(ProcessSettings):
    """A process with that section, under the name of one that every process knows."""

    gateway: MarketSection = MarketSection()


def refusal(environment: dict[str, str]) -> str:
    """What a process with such an environment ends with."""
    with pytest.raises(SettingsError) as caught:
        load_settings(MarketSettings, environment)
    return str(caught.value)


@pytest.mark.trial("10.5")
@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("YIVIDEO_GATEWAY__SITS", "gateway.sites (YIVIDEO_GATEWAY__SITES)"),
        ("YIVIDEO_GATEWAY__MOST_OPEN", "gateway.limits.most_open (YIVIDEO_GATEWAY__LIMITS__MOST_OPEN)"),
        (
            "YIVIDEO_GATEWAY__LIMITS__MOST_OPENED",
            "gateway.limits.most_open (YIVIDEO_GATEWAY__LIMITS__MOST_OPEN)",
        ),
        ("YIVIDEO_RUNTIME__LOGLEVEL", "runtime.log_level (YIVIDEO_RUNTIME__LOG_LEVEL)"),
        ("yivideo_runtime__lisen", "runtime.listen (YIVIDEO_RUNTIME__LISTEN)"),
        ("YIVIDEO_GATEWY__SITES", "gateway (YIVIDEO_GATEWAY__"),
        ("YIVIDEO_SCHEDULERS__NODES", "scheduler (YIVIDEO_SCHEDULER__"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(variable: str, meant: str) -> None:
    """A setting that there is not, a section included, names its variable and what was probably meant."""
    said = refusal({variable: "7"})
    assert meant in said
    assert f"[{variable.upper()}]" in said
    assert "7" not in said


@pytest.mark.trial("10.5")
def test_a_fault_inside_json_has_its_position() -> None:
    """What is wrong in a list is found by variable and JSON pointer; what is no JSON, by line and column."""
    said = refusal({"YIVIDEO_GATEWAY__SITES": '[{"street": "a"}, {"stret": "hunter2", "rooms": "many"}]'})
    assert "gateway.sites.1.rooms: " in said and "[YIVIDEO_GATEWAY__SITES at /1/rooms]" in said
    assert "gateway.sites.1.stret: there is no such setting; did you mean street?" in said
    assert "gateway.sites.1.street: Field required [YIVIDEO_GATEWAY__SITES at /1/street]" in said
    assert "hunter2" not in said
    said = refusal({"YIVIDEO_GATEWAY__SITES": '[{"street": "hunter2"},\n {"rooms" 2}]'})
    assert "gateway.sites: is not JSON at line 2, column 11: " in said and "[YIVIDEO_GATEWAY__SITES]" in said
    assert "hunter2" not in said
    said = refusal({"YIVIDEO_GATEWAY": '{"limits": {"most_open": "x"}}'})
    assert "[YIVIDEO_GATEWAY at /limits/most_open]" in said


@pytest.mark.trial("10.5")
def test_a_fault_in_the_file_has_its_line(tmp_path: Path) -> None:
    """Names that nobody knows and values that do not fit, each with the file and the line; all of them at once."""
    path = tmp_path / "yivideo.yaml"
    path.write_text("x-common: &here {street: a}\nruntime:\n  log_level: loud\ngatewey:\n  sites: []\n")
    said = refusal({"YIVIDEO_CONFIG": str(path)})
    assert (
        f"gatewey: no process has such a section; did you mean gateway (YIVIDEO_GATEWAY__…)? [{path} line 4]"
        in said
    )
    path.write_text(
        "x-common: &here {street: a}\nruntime:\n  log_level: loud\ngateway:\n  limits:\n    most: 1\n"
        "  sites:\n    - *here\n    - rooms: 2\nscheduler: {whatever: 1}\n"
    )
    said = refusal({"YIVIDEO_CONFIG": str(path)})
    assert f"[{path} line 3]" in said
    meant = "did you mean gateway.limits.most_open (YIVIDEO_GATEWAY__LIMITS__MOST_OPEN)?"
    assert f"gateway.limits.most: there is no such setting; {meant} [{path} line 6]" in said
    assert f"gateway.sites.1.street: Field required [{path} line 9]" in said
    assert "whatever" not in said, "that is for a scheduler to say"


@pytest.mark.parametrize(
    "name",
    [
        "YIVIDEO_MODELS", "YIVIDEO_GATEWAY_SERVICE_HOST", "YIVIDEO_GATEWAY_SERVICE_PORT_HTTP", "YIVIDEO_GATEWAY_PORT",
        "YIVIDEO_GATEWAY_PORT_8788_TCP_ADDR", "YIVIDEO_ASR__MODEL", "YIVIDEO_PAINTER__BRUSH", "OTHER__THING",
    ],
)  # fmt: skip
def test_what_is_not_for_us_is_left_alone(name: str) -> None:
    """Variables of others, those that Kubernetes makes of a service's name, and sections that the operator has named."""
    given = {name: "tcp://10.0.0.1:8788", "YIVIDEO_SECTIONS": "painter sculptor"}
    assert load_settings(MarketSettings, given) == MarketSettings()


@pytest.mark.parametrize("name", ["LISTEN", "METRICS_LISTEN"])
@pytest.mark.parametrize("address", ["8901", "localhost:http", "127.0.0.1:70000", "::1:80"])
def test_an_address_that_nobody_can_listen_on_is_refused_as_a_setting(name: str, address: str) -> None:
    """It names the setting, instead of a traceback when the server is made."""
    said = refusal({f"YIVIDEO_RUNTIME__{name}": address})
    assert f"runtime.{name.lower()}: " in said and "host:port" in said and address not in said
