"""The filestore's settings: MINIO_* variables beside YIVIDEO_*, secrets never shown."""

from __future__ import annotations

import pytest

from filestore.settings import FilestoreSettings
from runtime.settings import SettingsError, load_settings

MINIO = {
    "MINIO_HOST": "minio.internal",
    "MINIO_PORT": "9010",
    "MINIO_ACCESS_KEY": "the-access",
    "MINIO_SECRET_KEY": "the-secret",
    "MINIO_SECURE": "true",
    "MINIO_REGION": "eu-west-1",
    "MINIO_PUBLIC_ENDPOINT": "https://files.example.org",
}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*MINIO, "YIVIDEO_CONFIG"]:
        monkeypatch.delenv(name, raising=False)


def test_the_default_is_a_local_folder() -> None:
    """Without any setting files are kept in a folder."""
    assert load_settings(FilestoreSettings).filestore.backend == "local"


def test_minio_variables_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """MINIO_HOST alone chooses S3; its kin fill in the rest; the port has MinIO's default."""
    for name, value in MINIO.items():
        monkeypatch.setenv(name, value)
    section = load_settings(FilestoreSettings).filestore
    assert section.backend == "s3"
    assert section.s3.endpoint == "minio.internal:9010"
    assert (section.s3.access_key, section.s3.secret_key.get_secret_value()) == ("the-access", "the-secret")
    assert (section.s3.secure, section.s3.region) == (True, "eu-west-1")
    assert section.s3.public_endpoint == "https://files.example.org"
    monkeypatch.delenv("MINIO_PORT")
    assert load_settings(FilestoreSettings).filestore.s3.endpoint == "minio.internal:9000"


def test_our_own_variables_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """YIVIDEO_FILESTORE__… overrides MINIO_*, field by field."""
    for name, value in MINIO.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("YIVIDEO_FILESTORE__S3__REGION", "us-west-2")
    monkeypatch.setenv("YIVIDEO_FILESTORE__BACKEND", "local")
    section = load_settings(FilestoreSettings).filestore
    assert (section.backend, section.s3.region, section.s3.access_key) == ("local", "us-west-2", "the-access")


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the settings' text nor an error about them has a secret."""
    for name, value in MINIO.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("YIVIDEO_FILESTORE__URL_KEY", "the-url-key" * 4)
    text = repr(load_settings(FilestoreSettings))
    assert "the-secret" not in text
    assert "the-url-key" not in text


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("YIVIDEO_FILESTORE__URL_KEY", "short", "url_key"),
        ("YIVIDEO_FILESTORE__BACKEND", "s3", "s3.endpoint"),
        ("YIVIDEO_FILESTORE__DEFAULT_BUCKET", "Bad_Name", "default_bucket"),
        ("YIVIDEO_FILESTORE__NO_SUCH", "1", "no_such"),
        ("MINIO_PUBLIC_ENDPOINT", "files.example.org", "public_endpoint"),
    ],
)
def test_what_cannot_work_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """A short key, S3 without an endpoint, a bad bucket, an unknown field: the process does not start and says which."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=said) as caught:
        load_settings(FilestoreSettings)
    if name.endswith("KEY"):
        assert value not in str(caught.value)
