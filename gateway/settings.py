"""Settings of the gateway process."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from gateway.rate_limits import parsed
from runtime.addresses import is_local
from runtime.settings import Listen, ProcessSettings, Section


class Scope(StrEnum):
    """What an API key may do."""

    TASKS = "tasks"
    """Submit tasks; see, cancel, retry and delete one's own."""
    FILES = "files"
    """Read, write and delete one's own files, and read those below the shared prefixes."""
    FILES_ALL = "files:all"
    """Do so with every file, whoever owns it; has `files` in it. Tasks of such a key read every file too."""
    OPERATIONS = "operations"
    """See queues, dead letters and GPU locks, act on them, and see and act on everybody's tasks."""


def _rate_limit(value: str) -> str:
    parsed(value)
    return value


RateLimit = Annotated[str, AfterValidator(_rate_limit)]


class ApiKey(Section):
    """One key, known by its hash only; `python -m gateway.keys new` makes one."""

    key_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Lower-case hex SHA-256 of the key."""
    user: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")
    """Whose tasks these are; two keys may name one user, so that a key can be replaced without a gap."""
    expires_time: datetime | None = None
    """When the key stops working; none: never. A time without zone is UTC."""
    scopes: frozenset[Scope] = frozenset({Scope.TASKS, Scope.FILES})
    """What the key may do."""
    rate_limit: RateLimit | None = None
    """How often the key may be used, in place of `gateway.rate_limit`; empty: without limit."""

    @field_validator("scopes")
    @classmethod
    def _all_files_are_files(cls, value: frozenset[Scope]) -> frozenset[Scope]:
        return value | {Scope.FILES} if Scope.FILES_ALL in value else value


class GatewaySection(Section):
    """What the gateway has beside `runtime`."""

    listen: Listen = "127.0.0.1:8788"
    """`host:port` of the REST server; port 0 picks a free one. Without keys only a loopback address is accepted."""
    scheduler_address: str = "127.0.0.1:7801"
    """gRPC address of the scheduler."""
    filestore_address: str = "127.0.0.1:7802"
    """gRPC address of the filestore."""
    gpulock_address: str = ""
    """gRPC address of the lock service; empty: none, and everything below `/v1/monitoring` answers 503."""
    public_url: str = Field("", pattern=r"^(https?://[^/?#\s]+)?$")
    """`http(s)://host[:port]` that clients reach the gateway by, for the links it gives out; empty: the address that
    the client itself used."""
    api_keys: tuple[ApiKey, ...] = ()
    """Accepted keys; none: everybody is `anonymous` and may do everything."""
    rate_limit: RateLimit = ""
    """How often each key may be used, `100/minute; 5/second` for example: so many requests at once, then one after the other. Each
    gateway process counts for itself; past it a request is answered 429. Empty: without limit."""
    revocation_seconds: float = Field(2.0, gt=0, le=60)
    """How often a gateway with keys asks which were revoked elsewhere; one revoked here is refused at once."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call this API (`https://app.example`); `*`: any, then without credentials."""
    max_body_bytes: int = Field(1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    """Largest JSON body, but for batches."""
    max_batch_bytes: int = Field(8 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    """Largest JSON body of POST /v1/tasks:batch; four of them are held at once, two of one user."""
    max_upload_bytes: int = Field(64 * 1024**3, ge=1)
    """Largest file that is accepted."""
    max_wait_seconds: int = Field(60, ge=0, le=600)
    """Longest `Prefer: wait=N`; a longer wish is cut to this, 0 turns it off."""
    max_event_streams: int = Field(1000, ge=1, le=100_000)
    """Event streams and waiting requests at once; an event stream past it is answered 503."""
    ping_seconds: float = Field(15.0, gt=0, le=300)
    """Silence after which an event stream carries a comment, so that proxies keep it open."""
    stalled_client_seconds: float = Field(30.0, gt=0, le=600)
    """How long a client may send nothing of a body, or take nothing off an open stream or download, before it is dropped. Of
    bodies and downloads less than 64 KiB in that time count as nothing."""
    in_place_upload_bytes: int = Field(4 * 1024**2, ge=0)
    """Uploads from this size on are written into the filestore's own folder, past the filestore, where that folder is on this
    machine; 0: never."""
    in_place_reads: bool = True
    """Whether downloads are read from the filestore's own folder, past the filestore, where that folder is on this machine."""
    direct_download_bytes: int = Field(16 * 1024**2, ge=0)
    """Downloads from this size on are read from the object store itself, past the filestore, where the store has such
    links and this machine can reach it; 0: never."""
    redirect_downloads: Literal["auto", "never"] = "auto"
    """`auto`: where the store has an address of its own for clients (filestore.s3.public_endpoint), a download answers 307 with
    a link to it, and the bytes pass none of our processes. `never`: they always come through here."""
    share_root: str = Field("/share", pattern=r"^/[^/]+(/[^/]+)*$")
    """Root that shared paths begin with; the object path is the same without it."""
    openai_wait_seconds: int = Field(600, ge=1, le=600)
    """Longest task behind /v1/audio; then the request is answered 504."""
    openai_keep_tasks: bool = False
    """Whether tasks behind /v1/audio, and their files, stay when they are answered."""
    serve_metrics: bool = False
    """Whether /metrics is served here too, besides `runtime.metrics_listen`."""
    metrics_targets: Path | None = None
    """File with the places of all parts' /metrics, in the form of Prometheus' service discovery; served at /metrics/targets to keys
    with the scope `operations`. Unset: 404."""
    echo: bool = False
    """Whether /test answers with what it was sent: a sink for trying out callbacks."""

    @model_validator(mode="after")
    def _open_only_on_loopback(self) -> Self:
        if not self.api_keys and not is_local(self.listen):
            raise ValueError(
                f"{self.listen} can be reached by others: set gateway.api_keys, or listen on 127.0.0.1"
            )
        return self


class GatewaySettings(ProcessSettings):
    """Settings of the gateway process."""

    gateway: GatewaySection = GatewaySection()
    """What the gateway has beside `runtime`."""
