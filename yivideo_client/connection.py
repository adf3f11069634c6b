"""Where the installation is and which key to show: arguments over environment over a profile in a file.

Profiles are tables of `$XDG_CONFIG_HOME/yivideo/profiles.toml` (`~/.config/…`), which holds keys and is kept at mode 0600:

    [default]
    url = "https://video.example"
    api_key = "yiv_…"
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from yivideo_client.errors import ClientError

if TYPE_CHECKING:
    import ssl

DEFAULT_URL = "http://127.0.0.1:8788"
"""Where `make run` listens."""


class ProfileError(ClientError):
    """The profile or the address cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Connection:
    """One installation, as one user sees it."""

    url: str = DEFAULT_URL
    """Base URL of the gateway, without a path's last slash."""
    api_key: str | None = field(default=None, repr=False)
    """Key that the gateway knows; None where it asks for none."""
    ca_file: str | None = None
    """PEM file of the authorities to trust; None: the system's."""

    def __post_init__(self) -> None:
        if not _is_address(self.url):
            raise ProfileError(f"{self.url!r} is no address of a gateway: http(s)://host[:port][/path]")
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise ProfileError("the API key has characters that no key has; was a line's end copied with it?")
        if self.ca_file is not None and not Path(self.ca_file).is_file():
            raise ProfileError(f"the authorities' file {self.ca_file!r} is not there")
        object.__setattr__(self, "url", self.url.rstrip("/"))

    def tls_context(self) -> ssl.SSLContext:
        """Return what connections to https addresses are made with. Raises ProfileError for a file without certificates."""
        import ssl  # here, because a command that speaks plainly starts sooner so

        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise ProfileError(
                f"the authorities' file {self.ca_file!r} has no certificates: {error}"
            ) from error


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is no number
        return False
    return bool(named) and url.isprintable() and parts.path.isascii() and not (parts.query or parts.fragment)


def profiles_path(environ: Mapping[str, str]) -> Path:
    """Return where profiles are kept."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / "yivideo" / "profiles.toml"


def _tables(text: str) -> dict[str, Any]:
    import tomllib  # here, because a command without profiles starts sooner so

    return tomllib.loads(text)


def read_profile(path: Path, name: str) -> dict[str, str]:
    """Read one profile; an empty one when the file is not there and `name` is `default`. Raises ProfileError."""
    try:
        mode = path.stat().st_mode
        tables = _tables(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        tables, mode = {}, 0
    except (OSError, ValueError) as error:  # no UTF-8 and no TOML are ValueErrors both
        raise ProfileError(f"{path} cannot be read: {error}") from error
    table = tables.get(name)
    if table is None:
        if name == "default":
            return {}
        raise ProfileError(f"{path} has no profile {name!r}; it has: {', '.join(sorted(tables)) or 'none'}")
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise ProfileError(f"profile {name!r} of {path} must be a table of strings")
    unknown = sorted(set(table) - {"url", "api_key", "ca_file"})
    if unknown:
        raise ProfileError(f"profile {name!r} of {path} has unknown fields: {', '.join(unknown)}")
    if "api_key" in table and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ProfileError(f"{path} holds a key and others may read it: chmod 600 {path}")
    return table


def profile_names(environ: Mapping[str, str]) -> list[str]:
    """Return the names of all profiles; none when the file is not there. Raises ProfileError."""
    path = profiles_path(environ)
    try:
        return sorted(_tables(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise ProfileError(f"{path} cannot be read: {error}") from error


def resolve(
    url: str | None = None,
    api_key: str | None = None,
    *,
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Connection:
    """Find out which installation is meant. A profile's key is never sent to an address from elsewhere.

    Raises ProfileError for a profile or an address that cannot be used.
    """
    environ = os.environ if environ is None else environ
    name = profile or environ.get("YIVIDEO_PROFILE") or "default"
    table = read_profile(profiles_path(environ), name)
    address = url or environ.get("YIVIDEO_URL")
    key = api_key or environ.get("YIVIDEO_API_KEY")
    if address is None or address.rstrip("/") == table.get("url", "").rstrip("/"):
        key = key or table.get("api_key")
    ca_file = environ.get("YIVIDEO_CA_FILE") or table.get("ca_file")
    return Connection(address or table.get("url") or DEFAULT_URL, key or None, ca_file)
