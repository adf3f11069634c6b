"""The settings in force: one version for all replicas, kept in the store, changed by file or by call."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic_settings import SettingsError as EnvironmentFault

from gpulock import metrics
from gpulock.lease.configuration import LockConfiguration
from gpulock.lease.lessor import Lessor
from gpulock.settings import GpuLockMonitorSection, GpuLockSection, GpulockSettings
from gpulock.store.keys import Keys
from gpulock.store.script_store import ScriptStore
from runtime.errors import InvalidArgument, WrongState, YiVideoError
from runtime.logs import get_logger
from runtime.section_names import CONFIG_VARIABLE
from runtime.settings import ProcessSettings

log = get_logger(__name__)

_TRIES = 8
_REPLACE = """
if (redis.call('HGET', KEYS[1], 'version') or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'values', ARGV[3], 'source', ARGV[4], 'file', ARGV[5])
return 1
"""


@dataclass(frozen=True)
class Stored:
    """What the store says."""

    configuration: LockConfiguration
    version: int
    source: str
    file: Mapping[str, str] = field(default_factory=dict)
    """What the settings file said when it was last taken over."""


class ConfigurationStore:
    """One replica's hand on the settings."""

    def __init__(
        self,
        store: ScriptStore,
        keys: Keys,
        lessor: Lessor,
        settings: GpulockSettings,
        *,
        on_change: Callable[[], None],
    ) -> None:
        self._store = store
        self._key = keys.configuration
        self._lessor = lessor
        self._on_change = on_change
        self._own = LockConfiguration(gpu_lock=settings.gpu_lock, gpu_lock_monitor=settings.gpu_lock_monitor)
        self._check_seconds = settings.gpulock.file_check_seconds
        self.current = Stored(self._own, 0, "defaults")
        """What this replica last knew to be in force."""

    async def load(self) -> Stored:
        """Bring into force what the store has; put there what this replica has when it has nothing.

        The file, read again at every start, wins where it says something else than when it was last taken over.
        """
        stored = await self._read()
        own = self._own.values()
        source = "file" if os.environ.get(CONFIG_VARIABLE) else "defaults"
        if stored is None:
            known = self.current if self.current.version else Stored(self._own, 0, source, own)
            stored = await self._put_first(known)
        elif changed := {name: value for name, value in own.items() if stored.file.get(name) != value}:
            stored = await self._change(changed, source, file=own)
        await self._enforce(stored)
        return stored

    async def update(self, values: Mapping[str, str], source: str) -> Stored:
        """Replace settings. Raises InvalidArgument when one is wrong; then nothing changes."""
        stored = await self._change(values, source)
        await self._enforce(stored)
        return stored

    async def follow(self) -> None:
        """Bring into force what another replica has stored, and put back what the store has lost."""
        stored = await self._read()
        if stored is None:
            await self.load()
        elif stored.version < self.current.version:  # versions only grow: the store has gone back in time
            put_back = await self._swap(stored.version, self.current)
            await self._enforce(put_back or await self._read() or self.current)
        elif stored.version != self.current.version:
            await self._enforce(stored)

    async def watch_file(self) -> None:
        """Take the settings file over whenever it changes, for ever; a wrong one is told and changes nothing."""
        path = os.environ.get(CONFIG_VARIABLE)
        if not path:
            return
        seen = _stamp(Path(path))
        while True:
            await asyncio.sleep(self._check_seconds)
            stamp = _stamp(Path(path))
            if stamp is None or stamp == seen:
                continue
            try:
                await self._take_over(Path(path))
                seen = stamp
            except InvalidArgument as error:
                seen = stamp
                log.error("the settings file is wrong; the last good settings stay", reason=error.message)
            except YiVideoError as error:
                log.warning("the settings file could not be taken over yet", reason=error.message)

    async def _take_over(self, path: Path) -> None:
        new = await asyncio.to_thread(read_file, path)
        before = self.current.file or self._own.values()
        values = new.values()
        changed = {name: value for name, value in values.items() if before.get(name) != value}
        if changed:
            stored = await self._change(changed, "file", file=values)
            await self._enforce(stored)
            log.info("settings changed by file", version=stored.version, changed=sorted(changed))

    async def _change(
        self, values: Mapping[str, str], source: str, *, file: Mapping[str, str] | None = None
    ) -> Stored:
        for _ in range(_TRIES):
            stored = await self._read() or self.current
            wanted = stored.configuration.changed(values)
            kept = stored.file if file is None else file
            if wanted == stored.configuration and dict(kept) == dict(stored.file) and stored.version:
                return stored
            replaced = await self._swap(stored.version, Stored(wanted, stored.version + 1, source, kept))
            if replaced is not None:
                return replaced
        raise WrongState("the settings are being changed by others; try again")

    async def _put_first(self, known: Stored) -> Stored:
        new = Stored(known.configuration, max(1, known.version), known.source, known.file)
        return await self._swap(0, new) or await self._read() or new

    async def _swap(self, version: int, new: Stored) -> Stored | None:
        done = await self._store.read(
            "EVAL", _REPLACE, 1, self._key, version, new.version,
            json.dumps(new.configuration.values()), new.source, json.dumps(dict(new.file)),
        )  # fmt: skip
        return new if done == 1 else None

    async def _read(self) -> Stored | None:
        version, values, source, file = await self._store.read(
            "HMGET", self._key, "version", "values", "source", "file"
        )
        if version is None:
            return None
        known = LockConfiguration().values()
        given = {name: value for name, value in json.loads(values).items() if name in known}
        try:
            configuration = LockConfiguration().changed(given)
        except InvalidArgument as error:  # written by another version of this service
            log.error("the stored settings are not understood; the last good stay", reason=error.message)
            configuration = self.current.configuration
        return Stored(configuration, int(version), source.decode(), json.loads(file))

    async def _enforce(self, stored: Stored) -> None:
        self.current = stored
        await self._lessor.configure(stored.configuration, stored.version)
        metrics.CONFIG_RELOAD.set(time.time())
        self._on_change()


def read_file(path: Path) -> LockConfiguration:
    """Read the sections that change at run time from the file that YIVIDEO_CONFIG names; the environment goes before it, as it did
    when the process started. Raises InvalidArgument, naming what is wrong.
    """
    try:
        tree: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidArgument(f"{path.name} cannot be read: {type(error).__name__}") from None
    if not isinstance(tree, dict):
        raise InvalidArgument(f"{path.name} is not a mapping of sections")
    try:
        found = _Sections()
    except (ValueError, EnvironmentFault) as error:
        raise InvalidArgument(f"{path.name}: {error}") from None
    return LockConfiguration(gpu_lock=found.gpu_lock, gpu_lock_monitor=found.gpu_lock_monitor)


class _Sections(ProcessSettings):
    """What of the settings may change at run time, read as at the start of the process."""

    gpu_lock: GpuLockSection = GpuLockSection()
    gpu_lock_monitor: GpuLockMonitorSection = GpuLockMonitorSection()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
