"""ModelStore: the folder that models are in. `$YIVIDEO_MODELS/<model>/<file>`, by default below the user's cache.

Checking a digest reads every byte, so that it is done once: a stamp beside the files says which sizes and times were right, and
a file that has others is read again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nodekit.failure import TaskFailed
from nodekit.models.entry import ModelEntry, ModelFile, manifest

VARIABLE = "YIVIDEO_MODELS"
_STAMP = ".verified.json"
_CHUNK_BYTES = 1 << 20
_STAGE_MARK = "staged-"


class ModelMissing(TaskFailed):
    """A model that a task needs is not in the store: MODEL_MISSING, with the command that fetches it."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__("MODEL_MISSING", message, field=field)

    def __reduce__(self) -> tuple[type[ModelMissing], tuple[str, str]]:
        return ModelMissing, (self.message, self.field)


class ModelDamaged(Exception):
    """A file has another digest than the manifest says; the message has both."""


class ModelStore:
    """The models of one folder."""

    def __init__(self, root: Path, entries: Mapping[str, ModelEntry] | None = None) -> None:
        self.root = root
        """Folder that models are in; need not exist."""
        self.entries: Mapping[str, ModelEntry] = manifest() if entries is None else entries
        """What can be in it, by name."""

    def entry(self, name: str, field: str = "") -> ModelEntry:
        """Return a model's entry. Raises ModelMissing, with the input field that asked for it, for a name that nobody knows."""
        found = self.entries.get(name)
        if found is None:
            raise ModelMissing(f"no model is called {name!r}; known are {', '.join(self.entries)}", field)
        return found

    def has(self, name: str) -> bool:
        """Whether a model is there whole; looks at names and sizes only."""
        entry = self.entries.get(name)
        return entry is not None and all(
            _size_of(self.root / name / file.path) == file.size for file in entry.files
        )

    def published(self, *names: str) -> tuple[str, ...]:
        """Return `<engine>/<model>@<version>` of those that are there: what a node says that it can use, `Node(engines=…)`.

        Looks at names and sizes only, so that a node starts at once; what is damaged comes out when it is used.
        """
        found = (self.entries[name] for name in names if self.has(name))
        return tuple(f"{entry.engine}/{entry.name}@{entry.version}" for entry in found)

    def folder(self, name: str, field: str = "") -> Path:
        """Return the folder of a model that is there whole and right.

        Raises ModelMissing, with the input `field` that asked for it; also for a damaged one, which is as good as none.
        """
        entry = self.entry(name, field)
        if not self.has(name):
            raise ModelMissing(
                f"the model {name} ({entry.size / 1e6:.0f} MB, {entry.license.weights}) is not in {self.root}; "
                f"`make models names={name}` fetches it",
                field,
            )
        try:
            self.verify(name)
        except ModelDamaged as error:
            raise ModelMissing(
                f"the model {name} in {self.root} is damaged ({error}); `make models names={name}` fetches it again",
                field,
            ) from None
        return self.root / name

    def verify(self, name: str, *, thorough: bool = False) -> None:
        """Check a model's digests; those of files that have not changed since only when `thorough`. Raises ModelDamaged."""
        entry, folder = self.entry(name), self.root / name
        stamp = {} if thorough else _read_stamp(folder)
        state = {}
        for file in entry.files:
            path = folder / file.path
            state[file.path] = _fingerprint(path, file)
            if stamp.get(file.path) != state[file.path]:
                check_file(path, file)
        if state != stamp:
            _write_stamp(folder, state)

    @contextmanager
    def changing(self, name: str) -> Iterator[None]:
        """Keep every other process from changing this model for the time of the block; waits its turn."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / f".{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Whoever staged something under this lock was killed, or it would be gone.
            for left in self.root.glob(f".{name}.{_STAGE_MARK}*"):
                shutil.rmtree(left, ignore_errors=True)
            yield

    @contextmanager
    def staging(self, name: str) -> Iterator[Path]:
        """Give a new folder beside the models, gone when the block ends: on the same disk, so that `put` is one rename."""
        self.root.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{name}.{_STAGE_MARK}", dir=self.root))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def put(self, name: str, folder: Path) -> None:
        """Make a folder on the store's disk the model, in place of what was there. Raises ModelDamaged when a file is not right."""
        for file in self.entry(name).files:
            check_file(folder / file.path, file)
        target = self.root / name
        with self.staging(name) as aside:
            if target.exists():
                target.rename(aside / "old")
            folder.rename(target)
        self.verify(name)


def check_file(path: Path, file: ModelFile) -> None:
    """Compare a file with the manifest. Raises ModelDamaged."""
    size = _size_of(path)
    if size is None:
        raise ModelDamaged(f"{file.path} is missing")
    if size != file.size:
        raise ModelDamaged(f"{file.path} has {size} bytes and not {file.size}")
    found = digest_of(path)
    if found != file.sha256:
        raise ModelDamaged(f"{file.path} has sha256 {found} and not {file.sha256}")


def digest_of(path: Path) -> str:
    """Return a file's sha256 in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def model_store() -> ModelStore:
    """Return the store of this process: in `$YIVIDEO_MODELS`, else below the user's cache folder."""
    given = os.environ.get(VARIABLE)
    if given:
        return ModelStore(Path(given))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return ModelStore(cache / "yivideo" / "models")


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _fingerprint(path: Path, file: ModelFile) -> list[object]:
    try:
        found = path.stat()
    except OSError:
        return [file.sha256, 0, 0]
    return [file.sha256, found.st_size, found.st_mtime_ns]


def _read_stamp(folder: Path) -> dict[str, object]:
    try:
        stamp = json.loads((folder / _STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _write_stamp(folder: Path, state: Mapping[str, object]) -> None:
    """Write the stamp; a store that may only be read goes without and is checked at each start."""
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=".verified.")
        with os.fdopen(handle, "w") as stream:
            json.dump(state, stream)
        Path(name).chmod(0o644)
        Path(name).replace(folder / _STAMP)
    except OSError:
        return
