"""Models in one archive, for machines that reach nothing: packed here, added there, where the digests decide again."""

from __future__ import annotations

import tarfile
from pathlib import Path

from nodekit.models.fetching import FetchFailed
from nodekit.models.store import ModelDamaged, ModelStore


def pack(store: ModelStore, names: list[str], archive: Path) -> None:
    """Write an uncompressed tar of models (weights do not shrink). Raises ModelMissing for one that is not there and right."""
    part = archive.with_name(f"{archive.name}.part")
    try:
        with tarfile.open(part, "w") as tar:
            for name in names:
                folder = store.folder(name)
                for file in store.entry(name).files:
                    tar.add(folder / file.path, arcname=f"{name}/{file.path}")
        part.replace(archive)
    finally:
        part.unlink(missing_ok=True)


def add(store: ModelStore, source: Path) -> list[str]:
    """Take every model that the manifest knows out of an archive of `pack`, or a folder of models; returns their names.

    Raises FetchFailed when there is none, or one is damaged; those that were right before it stay.
    """
    names = _names_in(source, store)
    if not names:
        raise FetchFailed(f"{source} holds no model that the manifest knows")
    for name in names:
        with store.changing(name), store.staging(name) as stage:
            target = stage / "model"
            for file in store.entry(name).files:
                path = target / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                _copy(source, f"{name}/{file.path}", path)
            try:
                store.put(name, target)
            except ModelDamaged as error:
                raise FetchFailed(f"{name} in {source}: {error}") from None
    return names


def _names_in(source: Path, store: ModelStore) -> list[str]:
    if source.is_dir():
        return [name for name in store.entries if (source / name).is_dir()]
    try:
        with tarfile.open(source, "r:") as tar:
            tops = {member.split("/")[0] for member in tar.getnames()}
    except (tarfile.TarError, OSError) as error:
        raise FetchFailed(f"{source} is no archive of models: {error}") from None
    return [name for name in store.entries if name in tops]


def _copy(source: Path, name: str, target: Path) -> None:
    if source.is_dir():
        if (source / name).is_file():
            target.write_bytes((source / name).read_bytes())
        return
    with tarfile.open(source, "r:") as tar:
        try:
            stream = tar.extractfile(name)
        except KeyError:
            return  # the digests say what is missing
        if stream is not None:
            with target.open("wb") as out:
                while chunk := stream.read(1 << 20):
                    out.write(chunk)
