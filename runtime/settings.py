"""Settings: one frozen, typed object per process, read once (environment > YAML file > defaults).

One YAML file, named by `YIVIDEO_CONFIG`, may serve every process: each reads its own sections and leaves those of the
others alone. A section that no process has is an error, and so is an unknown key in one's own. Environment names are
`YIVIDEO_<SECTION>__<FIELD>`, for example `YIVIDEO_RUNTIME__LOG_LEVEL=debug`; docs/settings.md lists them all. Secrets are
`SecretStr`, so printing a settings object never shows them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)
from pydantic_settings import SettingsError as EnvironmentFault

from runtime.addresses import split_host_port
from runtime.errors import InvalidArgument
from runtime.section_names import CONFIG_VARIABLE, DELIMITER, PREFIX
from runtime.settings_faults import Given, broken_json, told, unknown_sections

_ENVIRONMENT: ContextVar[Mapping[str, str] | None] = ContextVar("environment", default=None)
"""What is read as the environment, when that is not this process's own."""


def _environment() -> Mapping[str, str]:
    given = _ENVIRONMENT.get()
    return os.environ if given is None else given


class _Environment(EnvSettingsSource):
    """The variables of the environment that is read."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in _environment().items()}


class SettingsError(SystemExit):
    """Settings that cannot be used; the process ends with every fault listed, values left out."""


class Section(BaseModel):
    """One part of the settings; frozen, and loud about a key it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _listenable(address: str) -> str:
    """Refuse what no server can listen on; empty, `host:port` and `unix:/path` can be right."""
    if address and not address.startswith("unix:"):
        try:
            split_host_port(address)
        except InvalidArgument:
            raise ValueError("must be host:port, for example 127.0.0.1:8788") from None
    return address


Listen = Annotated[str, AfterValidator(_listenable)]
"""An address that a server of ours listens on."""


class TlsSection(Section):
    """TLS of this process's gRPC server and of its calls to others; all paths empty: no TLS, loopback only."""

    certificate: Path | None = None
    """PEM certificate chain that this process shows, as server and as client."""
    private_key: Path | None = None
    """PEM key of the certificate."""
    authority: Path | None = None
    """PEM certificates of the authority that signs our peers' certificates."""
    require_client_certificate: bool = True
    """Mutual TLS: refuse clients without a certificate of the authority."""
    server_name: str = ""
    """Name that a server's certificate must carry; empty: the name that was dialled."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        # Half a configuration must not quietly become a server without TLS, or one that asks nobody for a certificate.
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key belong together")
        if self.certificate is not None and self.authority is None and self.require_client_certificate:
            raise ValueError("require_client_certificate needs authority (or must be set to false)")
        return self

    @property
    def enabled(self) -> bool:
        """Whether TLS is configured."""
        return self.certificate is not None or self.authority is not None

    @property
    def mutual(self) -> bool:
        """Whether this process's server lets in only clients with a certificate of the authority."""
        return self.certificate is not None and self.require_client_certificate


class TracesSection(Section):
    """Traces: what each task did where, sent to an OpenTelemetry collector. No endpoint: none, and none of its code is loaded."""

    endpoint: str = ""
    """OTLP over gRPC: `http://host:4317`, or `https://host:4317` with TLS; empty: no traces."""
    sample_ratio: float = Field(1.0, ge=0, le=1)
    """Share of the traces that begin here and are recorded; one that a caller has begun is recorded when the caller's is."""
    service_name: str = Field("yivideo", pattern=r"[A-Za-z0-9._-]{1,64}")
    """Begins the name of every process: `yivideo-gateway`, `yivideo-ffmpeg`."""
    headers_file: Path | None = None
    """File with a line `name: value` for each header that the collector wants, such as a key; a secret."""
    authority: Path | None = None
    """PEM certificates of the authority that signs the collector's; empty: those of the system."""
    timeout_seconds: float = Field(5.0, gt=0, le=60)
    """How long the collector may take for a batch; then it is dropped."""
    batch_seconds: float = Field(2.0, gt=0, le=60)
    """How long a span waits for others at most."""
    max_waiting_spans: int = Field(4096, ge=1, le=1_000_000)
    """Spans that wait for the collector at most, about 1 KiB each; further ones are dropped and counted."""

    @field_validator("endpoint")
    @classmethod
    def _reachable(cls, endpoint: str) -> str:
        if endpoint and not re.fullmatch(r"https?://[^/@?#\s]+", endpoint):
            raise ValueError(
                "must be http://host:port or https://host:port, for example http://127.0.0.1:4317"
            )
        return endpoint


class RuntimeSection(Section):
    """What every process has."""

    listen: Listen = "127.0.0.1:0"
    """`host:port` or `unix:/path` of the gRPC server; port 0 picks a free one and logs it."""
    advertise: str = ""
    """Address that others reach this process by; empty: the one it listens on."""
    health_listen: Listen = ""
    """`host:port` of a second gRPC server that answers the health service and nothing else, without TLS: for probes that have no
    certificate to show, as Kubernetes' have none. Empty: none; health is answered at `listen` in any case."""
    metrics_listen: Listen = "127.0.0.1:0"
    """`host:port` of the Prometheus endpoint; empty: none."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least serious log line that is written."""
    log_format: Literal["json", "console"] = "json"
    """`json`: one object a line on standard error; `console`: for eyes."""
    token: SecretStr | None = None
    """Bearer token that every internal gRPC call carries and every server requires; empty: none."""
    tls: TlsSection = TlsSection()
    """Certificates; see TlsSection."""
    traces: TracesSection = TracesSection()
    """Traces; see TracesSection."""
    sentry_dsn: SecretStr | None = None
    """Where unexpected errors are reported, as Sentry gives it (`https://key@host/number`); empty: nowhere."""
    reflection: bool = True
    """Whether gRPC reflection is served."""
    drain_seconds: float = Field(10.0, ge=0, le=3600)
    """Grace after SIGTERM for calls and tasks that are under way."""
    max_message_bytes: int = Field(4 * 1024 * 1024, ge=64 * 1024, le=64 * 1024 * 1024)
    """Largest gRPC message that is received."""
    call_timeout_seconds: float = Field(30.0, gt=0, le=600)
    """Deadline of a unary call to another process when the caller sets none."""

    @field_validator("token")
    @classmethod
    def _sendable(cls, token: SecretStr | None) -> SecretStr | None:
        # It travels in a header: a line end at the end of a secret file would fail every call, far from here.
        if token and not re.fullmatch(r"[!-~]+", token.get_secret_value()):
            raise ValueError("must be printable ASCII without spaces or line ends")
        return token


class ProcessSettings(BaseSettings):
    """What a process's settings class derives from; adds its own sections beside `runtime`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    runtime: RuntimeSection = RuntimeSection()
    """What every process has."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: arguments, environment, YAML file, defaults."""
        environment = _Environment(settings_cls)
        path = _environment().get(CONFIG_VARIABLE)
        if not path:
            return init_settings, environment
        return init_settings, environment, YamlConfigSettingsSource(settings_cls, yaml_file=path)


def read_pem(path: Path) -> bytes:
    """Return a certificate or key file's bytes. Raises SettingsError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"settings: runtime.tls: {path} cannot be read: {error.strerror}") from None


def read_headers(path: Path) -> tuple[tuple[str, str], ...]:
    """Return the headers of a file of `name: value` lines. Raises SettingsError, which never quotes it."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"settings: runtime.traces.headers_file: {path} cannot be read: {type(error).__name__}"
        ) from None
    headers = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not (colon and re.fullmatch(r"[a-z0-9._-]+", name.lower()) and re.fullmatch(r"[ -~]+", value)):
            raise SettingsError(
                f"settings: runtime.traces.headers_file: line {number} of {path} is not `name: value`"
            )
        headers.append((name.lower(), value))
    return tuple(headers)


S = TypeVar("S", bound=ProcessSettings)


def load_settings(kind: type[S], environment: Mapping[str, str] | None = None) -> S:
    """Read the settings of this process, or those that a process with another environment would read.

    Raises SettingsError (which ends the process with exit code 1 and the reasons on standard error) when the YAML
    file is missing, a name is not known or a value does not fit: every fault at once, each with its variable or its line.
    """
    token = _ENVIRONMENT.set(environment)
    try:
        given = read_given()
        faults = unknown_sections(kind, given) + broken_json(kind, given)
        if faults:
            raise _cannot_start(faults)
        try:
            return kind()
        except EnvironmentFault as error:
            raise SettingsError(f"settings: {error}") from None
        except ValidationError as error:
            raise _cannot_start(told(kind, error, given)) from None
    finally:
        _ENVIRONMENT.reset(token)


def read_given() -> Given:
    """Return what the operator has given. Raises SettingsError when the YAML file cannot be used."""
    path = _environment().get(CONFIG_VARIABLE)
    return Given(_environment(), Path(path), _file_text(Path(path))) if path else Given(_environment(), None)


def cannot_listen(setting: str, address: str, error: OSError) -> SettingsError:
    """Return what a process ends with whose server cannot have its address."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return SettingsError(f"settings: {setting}: nobody can listen on {address}: {reason}")


def _cannot_start(faults: list[str]) -> SettingsError:
    return SettingsError("settings: cannot start\n" + "\n".join(f"  {fault}" for fault in faults))


def _file_text(path: Path) -> str:
    """Return the file's text. Raises SettingsError when it is not a YAML mapping; the parser's own text would quote it, secrets and
    all.
    """
    if not path.is_file():
        raise SettingsError(f"settings: {CONFIG_VARIABLE} names {str(path)!r}, which is not a file")
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SettingsError(f"settings: {str(path)!r} is not YAML{where}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings: {str(path)!r} cannot be read: {type(error).__name__}") from None
    if not isinstance(content, dict | None):
        raise SettingsError(f"settings: {str(path)!r} is not a mapping of sections")
    return text
