"""A Redis that survives its machine, as processes of a bench or a test: a primary, replicas, and sentinels that watch over them."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from bench.servers import free_port, redis_binary, start

NAME = "tasks"
"""What the sentinels call the primary."""
QUORUM = 2
_START_SECONDS = 20.0
_TLS_OPTIONS = ("ssl_certfile", "ssl_keyfile", "ssl_ca_certs")

_PLAIN = """\
port {port}
"""

_TLS = """\
port 0
tls-port {port}
tls-cert-file {certificate}
tls-key-file {key}
tls-ca-cert-file {authority}
tls-replication yes
"""

_SERVER = """\
bind {host}
dir {folder}
requirepass {password}
masterauth {password}
appendonly yes
appendfsync {sync}
save ""
maxmemory-policy noeviction
repl-diskless-sync-delay 0
repl-ping-replica-period 1
repl-timeout 5
min-replicas-to-write {min_replicas}
min-replicas-max-lag 2
"""

_SENTINEL = """\
bind {host}
dir {folder}
requirepass {sentinel_password}
sentinel sentinel-pass {sentinel_password}
sentinel monitor {name} {primary_host} {primary_port} {quorum}
sentinel auth-pass {name} {password}
sentinel down-after-milliseconds {name} {down_ms}
sentinel failover-timeout {name} 2000
sentinel parallel-syncs {name} 1
"""


@dataclass
class Member:
    """One Redis or sentinel of a group."""

    name: str
    host: str
    port: int
    folder: Path
    argv: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None

    @property
    def place(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"

    def run(self, *options: str) -> None:
        """Start it, with the data and the configuration that it has left."""
        self.process = start((*self.argv, *options), {}, self.folder / "log.txt")

    def signal(self, number: signal.Signals) -> None:
        """Signal it."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


@dataclass
class RedisGroup:
    """Redis servers, the first of which begins as the primary, and three sentinels. `with group.running()` has all up."""

    folder: Path
    server_hosts: Sequence[str] = ("127.0.0.1", "127.0.0.1")
    sentinel_hosts: Sequence[str] = ("127.0.0.1",) * 3
    sync: str = "always"
    min_replicas_to_write: int = 0
    down_ms: int = 1000
    """How long a primary is silent before a sentinel believes it gone."""
    within: Callable[[str], tuple[str, ...]] = lambda _: ()
    """What a program on a host is started with."""
    tls: Callable[[str], tuple[Path, Path, Path]] | None = None
    """Certificate, key and authority for a host; None: no TLS. With it, all show each other certificates."""
    client_host: str = "127.0.0.1"
    """Whose certificate is shown by who runs the story."""
    password: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    sentinel_password: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)

    def __post_init__(self) -> None:
        """Write every configuration."""
        self.servers = [self._server(index, host) for index, host in enumerate(self.server_hosts)]
        self.sentinels = [self._sentinel(index, host) for index, host in enumerate(self.sentinel_hosts)]

    def url(self, database: int = 0, host: str = "127.0.0.1") -> str:
        """Return what a setting says to find the primary through the sentinels, for a process on a host."""
        places = ",".join(one.place for one in self.sentinels)
        query = {"sentinel_password": self.sentinel_password}
        scheme = "redis+sentinel"
        if self.tls is not None:
            scheme = "rediss+sentinel"
            query |= {name: str(path) for name, path in zip(_TLS_OPTIONS, self.tls(host), strict=True)}
        return f"{scheme}://:{self.password}@{places}/{NAME}/{database}?{urlencode(query)}"

    def _member(self, name: str, host: str, text: str, *flags: str) -> Member:
        folder, port = self.folder / name, free_port()
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "redis.conf"
        config.touch(mode=0o600)
        values: dict[str, Any] = {"host": host, "port": port, "folder": folder.resolve(), **self._values()}
        if self.tls is not None:
            values |= dict(zip(("certificate", "key", "authority"), self.tls(host), strict=True))
        config.write_text(((_PLAIN if self.tls is None else _TLS) + text).format(**values))
        return Member(name, host, port, folder, (*self.within(host), redis_binary(), str(config), *flags))

    def _values(self) -> dict[str, str | int]:
        first = self.servers[0] if hasattr(self, "servers") else None
        return {
            "password": self.password, "sentinel_password": self.sentinel_password, "name": NAME, "quorum": QUORUM,
            "sync": self.sync, "min_replicas": self.min_replicas_to_write, "down_ms": self.down_ms,
            "primary_host": first.host if first else "", "primary_port": first.port if first else 0,
        }  # fmt: skip

    def _server(self, index: int, host: str) -> Member:
        if not index:
            self._first = self._member("redis-0", host, _SERVER)
            return self._first
        follow = f"replicaof {self._first.host} {self._first.port}\n"
        return self._member(f"redis-{index}", host, _SERVER + follow)

    def _sentinel(self, index: int, host: str) -> Member:
        return self._member(f"sentinel-{index}", host, _SENTINEL, "--sentinel")

    def client(self, member: Member) -> redis.Redis:
        """Return a client of one server or sentinel."""
        password = self.sentinel_password if member in self.sentinels else self.password
        files = self.tls(self.client_host) if self.tls is not None else ()
        secured: dict[str, Any] = {name: str(path) for name, path in zip(_TLS_OPTIONS, files, strict=False)}
        return redis.Redis(
            member.host, member.port, password=password, socket_timeout=1.0, socket_connect_timeout=1.0,
            retry=Retry(NoBackoff(), 0), ssl=bool(secured), **secured,
        )  # fmt: skip

    def primary(self) -> Member:
        """Return who is the primary in the newest configuration of the sentinels."""
        newest, place = -1, ""
        for sentinel in self.sentinels:
            with contextlib.suppress(redis.RedisError, OSError), self.client(sentinel) as client:
                facts = client.sentinel_master(NAME)
                if facts["config-epoch"] > newest:
                    newest, place = facts["config-epoch"], f"{facts['ip']}:{facts['port']}"
        return next(one for one in self.servers if one.place == place)

    def restart(self, member: Member) -> None:
        """Start a server that has ended, as a replica unless it is the primary still: sentinels would see to it ten seconds later,
        in which it believes itself the primary and nobody follows the new one.
        """
        primary = self.primary()
        member.run(*([] if primary is member else ["--replicaof", primary.host, str(primary.port)]))

    def wait_for_failover(self, before: Member, seconds: float = 30.0) -> Member:
        """Wait until the sentinels name another primary; gives it."""
        give_up = time.monotonic() + seconds
        while (now := self.primary()) is before:
            if time.monotonic() > give_up:
                raise TimeoutError("the sentinels have not failed over")
            time.sleep(0.02)
        return now

    def wait_for_replica(self, count: int = 1, seconds: float = 30.0) -> None:
        """Wait until the primary has so many replicas that follow, and every sentinel knows of them and of the others."""
        give_up = time.monotonic() + seconds
        while not self._is_whole(count):
            if time.monotonic() > give_up:
                raise TimeoutError("the group of redis servers did not come together")
            time.sleep(0.02)

    def _is_whole(self, count: int) -> bool:
        try:
            with self.client(self.primary()) as client:
                info = client.info("replication")
            online = sum(info.get(f"slave{n}", {}).get("state") == "online" for n in range(9))
            for sentinel in self.sentinels:
                with self.client(sentinel) as asked:
                    facts = asked.sentinel_master(NAME)
                if facts["num-other-sentinels"] < len(self.sentinels) - 1 or facts["num-slaves"] < count:
                    return False
        except (redis.RedisError, OSError, StopIteration):
            return False
        return bool(online >= count)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Have all up for the time of the block."""
        everybody = [*self.servers, *self.sentinels]
        try:
            for member in self.servers:
                member.run()
            self._wait_until_up(self.servers)
            self._wait_until_linked()
            for member in self.sentinels:
                member.run()
            self._wait_until_up(self.sentinels)
            self.wait_for_replica(len(self.servers) - 1)
            yield
        finally:
            for member in everybody:
                if member.process is not None:
                    with contextlib.suppress(OSError):
                        os.kill(member.process.pid, signal.SIGCONT)
                member.kill()

    def _wait_until_linked(self) -> None:
        """Wait for replicas: a sentinel that finds them at its first look need not look again ten seconds later."""
        give_up = time.monotonic() + _START_SECONDS
        with self.client(self.servers[0]) as client:
            while client.info("replication")["connected_slaves"] < len(self.servers) - 1:
                if time.monotonic() > give_up:
                    raise TimeoutError("no replica has come")
                time.sleep(0.02)

    def _wait_until_up(self, members: Sequence[Member]) -> None:
        give_up = time.monotonic() + _START_SECONDS
        for member in members:
            while True:
                try:
                    with self.client(member) as client:
                        client.ping()
                    break
                except (redis.RedisError, OSError):
                    if time.monotonic() > give_up:
                        raise RuntimeError((member.folder / "log.txt").read_text()[-2000:]) from None
                    time.sleep(0.02)
