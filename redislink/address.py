"""What a Redis URL of the settings means: one server, or sentinels that know which of several is the primary."""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from pydantic import AfterValidator, SecretStr
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection, parse_url

from runtime.addresses import join_host_port, split_host_port
from runtime.errors import InvalidArgument

_SENTINEL_SCHEMES = {"redis+sentinel": "redis", "rediss+sentinel": "rediss"}
_SENTINEL_PORT = 26379
_NAME = re.compile(r"^[A-Za-z0-9._-]+$")
_SENTINEL_FORM = "redis+sentinel://[user:password@]host[:port],host[:port],…/name[/database]"

_TLS_PARAMETERS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
_PARAMETERS = ("db", "username", "password")
_SENTINEL_PARAMETERS = ("sentinel_username", "sentinel_password")

Place = tuple[str, int]
"""Host and port."""


@dataclass(frozen=True)
class RedisAddress:
    """A Redis: how its connections are made, and where."""

    options: dict[str, Any] = field(repr=False)
    """As redis-py's `parse_url` gives them, of the server itself; without host and port where sentinels name them."""
    sentinels: tuple[str, ...] = field(default=(), repr=False)
    """A URL for each sentinel, with its password; empty: one server."""
    primary_name: str = ""
    """What the sentinels call the primary."""

    @property
    def place(self) -> Place:
        """Where the one server is."""
        return self.options.get("host", "localhost"), int(self.options.get("port", 6379))

    @property
    def socket(self) -> str:
        """Path of the one server's Unix socket; empty: it is reached over TCP."""
        is_socket = self.options.get("connection_class") is UnixDomainSocketConnection
        return str(self.options["path"]) if is_socket else ""

    @property
    def is_tls(self) -> bool:
        """Whether connections are secured."""
        return self.options.get("connection_class") is SSLConnection

    def tls(self) -> ssl.SSLContext | None:
        """Return what connections are secured with, from `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, `ssl_check_hostname`."""
        given = self.options
        if not self.is_tls:
            return None
        context = ssl.create_default_context(cafile=given.get("ssl_ca_certs"))
        context.check_hostname = bool(given.get("ssl_check_hostname", True))
        if given.get("ssl_certfile"):
            context.load_cert_chain(given["ssl_certfile"], given.get("ssl_keyfile"))
        return context


def parse_redis_url(url: str) -> RedisAddress:
    """Read a URL: `redis://`, `rediss://`, `unix://`, or those of sentinels. Raises ValueError; no password is in its text."""
    scheme, _, rest = url.partition("://")
    if scheme in _SENTINEL_SCHEMES:
        return _with_sentinels(_SENTINEL_SCHEMES[scheme], rest)
    try:
        options, parts = dict(parse_url(url)), urlsplit(url)
    except ValueError as error:
        if scheme in ("redis", "rediss", "unix") and "'db'" in str(error):
            raise ValueError("names a database that is no number") from None
        schemes = "redis://, rediss://, unix://, redis+sentinel:// or rediss+sentinel://"
        raise ValueError(f"is no URL of a Redis, which begins with {schemes}") from error
    _check(parts.query, "" if scheme == "unix" else parts.path.strip("/"), is_tls=scheme == "rediss")
    return RedisAddress(options)


def _check(query: str, database: str, *, is_tls: bool, more: Sequence[str] = ()) -> None:
    """Refuse parameters that have no meaning to every connection we make, and a database that is none or another one than theirs.

    A client library would take them, and fail or keep silent later.
    """
    known = (*_PARAMETERS, *more, *(_TLS_PARAMETERS if is_tls else ()))
    given = parse_qsl(query, keep_blank_values=True)
    names = [name for name, _ in given]
    for name in names:
        if name in known and names.count(name) == 1:
            continue
        if "@" in query:  # it may be a piece of a password
            raise ValueError("has a parameter that is none; percent-encode what is unusual in a password")
        if name in known:
            raise ValueError(f"has the parameter {name!r} more than once")
        if name in _TLS_PARAMETERS:
            raise ValueError(f"has the parameter {name!r}, which means something with TLS only (rediss)")
        raise ValueError(f"has the parameter {name!r}, which is none of {', '.join(known)}")
    wanted = dict(given).get("db", database)
    if not all(one == "" or one.isdecimal() for one in (wanted, database)):
        raise ValueError("names a database that is no number")
    if database and wanted and int(wanted) != int(database):
        raise ValueError(
            f"contradicts itself: database {database} in its path, {wanted} in its parameter 'db'"
        )


def _readable(url: SecretStr) -> SecretStr:
    parse_redis_url(url.get_secret_value())
    return url


RedisUrl = Annotated[SecretStr, AfterValidator(_readable)]
"""A setting that says where a Redis is."""


def _with_sentinels(scheme: str, rest: str) -> RedisAddress:
    try:
        parts = urlsplit(f"//{rest}")
    except ValueError:  # it repeats what it was given, with the password
        raise ValueError(
            f"is no URL; percent-encode what is unusual in a password: {_SENTINEL_FORM}"
        ) from None
    login, _, hosts = parts.netloc.rpartition("@")
    name, _, database = parts.path.strip("/").partition("/")
    if not _NAME.fullmatch(unquote(name)) or not (database == "" or database.isdecimal()):
        raise ValueError(f"names no primary, or a database that is no number: {_SENTINEL_FORM}")
    _check(parts.query, database, is_tls=scheme == "rediss", more=_SENTINEL_PARAMETERS)
    query = dict(parse_qsl(parts.query))
    user, password = query.pop("sentinel_username", ""), query.pop("sentinel_password", "")
    tls = {key: value for key, value in query.items() if key.startswith("ssl_")}
    at = f"{quote(user, safe='')}:{quote(password, safe='')}@" if password else ""
    of_sentinels = f"?{urlencode(tls)}" if tls else ""
    sentinels = tuple(
        f"{scheme}://{at}{join_host_port(*_sentinel_place(host))}/0{of_sentinels}"
        for host in hosts.split(",")
    )
    own = f"{scheme}://{login}@localhost/{database}" if login else f"{scheme}://localhost/{database}"
    options = dict(parse_url(f"{own}?{urlencode(query)}" if query else own))
    return RedisAddress({key: options[key] for key in options if key != "host"}, sentinels, unquote(name))


def _sentinel_place(host: str) -> Place:
    has_port = (
        host.rpartition(":")[2].isdecimal() and not host.endswith("]") and host.count("]:") + host.count(":")
    )
    try:
        return split_host_port(host if has_port else f"{host}:{_SENTINEL_PORT}")
    except InvalidArgument as error:
        raise ValueError(f"has a sentinel that is not host or host:port: {_SENTINEL_FORM}") from error
