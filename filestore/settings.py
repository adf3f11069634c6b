"""The filestore's settings, and the MINIO_* variables that it also understands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from filestore.names import checked_bucket, checked_prefix
from runtime.errors import InvalidArgument, PathRefused
from runtime.settings import ProcessSettings, Section

_LEAST_KEY_CHARACTERS = 32


class S3Section(Section):
    """An S3 endpoint: MinIO, Ceph, AWS or another. MINIO_* variables fill in what YIVIDEO_* ones leave open."""

    endpoint: str = ""
    """`host:port`, without a scheme (MINIO_HOST and MINIO_PORT)."""
    access_key: str = ""
    """Access key (MINIO_ACCESS_KEY)."""
    secret_key: SecretStr = SecretStr("")
    """Secret key (MINIO_SECRET_KEY)."""
    secure: bool = False
    """Whether the endpoint speaks HTTPS (MINIO_SECURE)."""
    region: str = "us-east-1"
    """Region that requests are signed for (MINIO_REGION); fixed, so that signing a URL needs no round trip."""
    public_endpoint: str = Field("", pattern=r"^(https?://[^/\s]+)?$")
    """`http(s)://host[:port]` that clients reach the store by (MINIO_PUBLIC_ENDPOINT); empty: presigned URLs for
    clients go through the gateway when `filestore.url_key` is set and are refused otherwise."""
    authority: Path | None = None
    """PEM certificates to trust instead of the system's."""
    part_mib: int = Field(6, ge=5, le=512)
    """Size of one part of a multipart upload; files up to this size are one request."""
    parallel_parts: int = Field(2, ge=1, le=16)
    """Parts of one upload that are sent at the same time; an upload holds up to two parts more in memory."""
    connect_timeout_seconds: float = Field(5.0, gt=0, le=60)
    """Longest wait for a connection."""
    read_timeout_seconds: float = Field(60.0, gt=0, le=600)
    """Longest silence of the store within a request."""


class FilestoreSection(Section):
    """The file store."""

    backend: Literal["local", "s3"] = "local"
    """Where files are kept; `s3` by itself when MINIO_HOST is set."""
    root: Path = Path(".run/files")
    """Folder of the local backend; one process at a time may use it."""
    default_bucket: str = "yivideo"
    """Bucket that an empty bucket name means; made when absent."""
    buckets: tuple[str, ...] = ()
    """Other buckets that may be named. Empty: any; one that is absent is made when a file is put there."""
    shared_prefixes: tuple[str, ...] = ()
    """Beginnings of paths (`library/`) below which everybody reads and lists every file; only its owner replaces or deletes one."""
    url_aliases: tuple[str, ...] = ("http://minio:9000",)
    """`http(s)://host[:port]` that the store is also known by. A task's input that begins with one of them, with the store's own
    addresses or with `gateway_url` is read from the store, on behalf of the task's user, and not fetched over the network."""
    share_anonymous: bool = False
    """Whether everybody reads the files of `anonymous`: those from before files had owners or keys were set, and those written past
    the filestore."""
    quota_mib: int = Field(0, ge=0)
    """Most that the default bucket may hold; 0: no limit."""
    max_file_mib: int = Field(16 * 1024, ge=1, le=5 * 1024 * 1024)
    """Largest file."""
    url_key: SecretStr | None = None
    """Secret that URLs served by the gateway are signed with, 32 characters or more, the same in every replica.
    The local backend makes and keeps its own when this is empty."""
    gateway_url: str = Field("", pattern=r"^(https?://[^/?#\s]+)?$")
    """`http(s)://host[:port]` that clients reach the gateway by. Links that the gateway serves begin with it, so that they work
    wherever they are read (in a result, in a callback); empty: they begin with `/`."""
    max_transfers: int = Field(64, ge=1, le=10_000)
    """Uploads and downloads at the same time; more are told to come again."""
    idle_timeout_seconds: float = Field(120.0, gt=0, le=3600)
    """An upload that sends nothing for this long is cancelled."""
    partial_age_seconds: float = Field(86_400.0, ge=60)
    """Uploads that ended without an end are removed when nothing came for this long (the local backend also removes
    every one of them at its start)."""
    parts_age_seconds: float = Field(7 * 86_400.0, ge=0)
    """Files below `.parts/` out of which nobody has made a file for this long are removed: until then an upload in parts can
    go on."""
    clean_interval_seconds: float = Field(3600.0, ge=1)
    """How often those are looked for."""
    usage_interval_seconds: float = Field(300.0, ge=1)
    """How often the files of an S3 bucket are counted anew; what passes through here is added at once."""
    threads: int = Field(8, ge=2, le=64)
    """Threads for disk work and for short S3 requests."""
    s3: S3Section = S3Section()
    """The S3 endpoint of the `s3` backend."""

    @field_validator("default_bucket", "buckets")
    @classmethod
    def _good_names(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for name in (value,) if isinstance(value, str) else value:
            try:
                checked_bucket(name)
            except InvalidArgument as error:
                raise ValueError(error.message) from None
        return value

    @field_validator("shared_prefixes")
    @classmethod
    def _good_prefixes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in value:
            try:
                checked_prefix(prefix)
            except PathRefused as error:
                raise ValueError(error.message) from None
            if not prefix.endswith("/") or prefix == "/":
                raise ValueError(f"{prefix!r}: a shared prefix is a folder and ends in '/'")
        return value

    @field_validator("url_key")
    @classmethod
    def _long_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < _LEAST_KEY_CHARACTERS:
            raise ValueError(f"must have {_LEAST_KEY_CHARACTERS} characters or more")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.backend == "s3" and not self.s3.endpoint:
            raise ValueError("backend s3 needs s3.endpoint (or MINIO_HOST)")
        return self


class MinioVariables(PydanticBaseSettingsSource):
    """Reads MINIO_HOST and its kin, the names that MinIO users have in their deployments."""

    _FIELDS: ClassVar[dict[str, str]] = {
        "MINIO_ACCESS_KEY": "access_key",
        "MINIO_SECRET_KEY": "secret_key",
        "MINIO_SECURE": "secure",
        "MINIO_REGION": "region",
        "MINIO_PUBLIC_ENDPOINT": "public_endpoint",
    }

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not used: the variables are read all at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return what the variables say, in the shape of FilestoreSettings."""
        s3 = {field: os.environ[name] for name, field in self._FIELDS.items() if os.environ.get(name)}
        host = os.environ.get("MINIO_HOST")
        if not host:
            return {"filestore": {"s3": s3}} if s3 else {}
        s3["endpoint"] = f"{host}:{os.environ.get('MINIO_PORT') or '9000'}"
        return {"filestore": {"backend": "s3", "s3": s3}}


class FilestoreSettings(ProcessSettings):
    """All settings of the filestore process."""

    filestore: FilestoreSection = FilestoreSection()
    """The file store."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: arguments, YIVIDEO_*, MINIO_*, YAML file, defaults."""
        first, second, *others = super().settings_customise_sources(
            settings_cls, init_settings, env_settings, dotenv_settings, file_secret_settings
        )
        return first, second, MinioVariables(settings_cls), *others
