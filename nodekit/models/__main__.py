"""`python -m nodekit.models`: fetch, list, verify, pack and add models, and show their licences."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from nodekit.models.fetching import FetchFailed, fetch
from nodekit.models.packing import add, pack
from nodekit.models.store import ModelDamaged, ModelMissing, ModelStore, model_store


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 it could not be."""
    options = _parser().parse_args(arguments)
    store = model_store()
    try:
        return int(options.run(store, options) or 0)
    except (FetchFailed, ModelMissing, OSError) as error:
        print(f"models: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="models", description="The model store in $YIVIDEO_MODELS.")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser(
        "fetch", help="bring models into the store (default: those for the demo and tests)"
    )
    command.add_argument("names", nargs="*")
    command.add_argument("--missing", action="store_true", help="say nothing of those that are here")
    command.add_argument("--accept", action="store_true", help="accept the licences of those that ask for it")
    command.set_defaults(run=_fetch)
    commands.add_parser("list", help="what exists and what is here").set_defaults(run=_list)
    command = commands.add_parser("verify", help="read every byte of what is here again")
    command.add_argument("names", nargs="*")
    command.set_defaults(run=_verify)
    command = commands.add_parser("pack", help="write models into one archive")
    command.add_argument("archive", type=Path)
    command.add_argument("names", nargs="*")
    command.set_defaults(run=_pack)
    command = commands.add_parser("add", help="take models out of an archive or a folder")
    command.add_argument("source", type=Path)
    command.set_defaults(run=lambda store, options: print("added " + ", ".join(add(store, options.source))))
    commands.add_parser("licences", help="terms and makers").set_defaults(run=_licences)
    return parser


def _fetch(store: ModelStore, options: argparse.Namespace) -> int:
    names: list[str] = options.names or [entry.name for entry in store.entries.values() if entry.default]
    if options.missing:
        names = [name for name in names if not store.has(name)]
    failed = 0
    arrival = _Arrival(store)
    for name in names:
        try:
            fetched = fetch(
                store,
                name,
                accept=options.accept,
                say=lambda line: print(f"models: {line}", flush=True),
                progress=arrival.show,
            )
            print(f"models: {name} {'fetched' if fetched else 'is here'}", flush=True)
        except FetchFailed as error:
            failed = 1
            print(f"models: {error}", file=sys.stderr)
    return failed


class _Arrival:
    """The line that shows how much of a model has arrived; drawn in place on a terminal, every ten seconds elsewhere."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._in_place = sys.stdout.isatty()
        self._last = time.monotonic()

    def show(self, name: str, arrived: int) -> None:
        """Draw it. A client keeps an archive beside what is taken out of it, so the share stops at 99 %."""
        if not self._in_place and time.monotonic() - self._last < _ARRIVAL_SECONDS:
            return
        self._last = time.monotonic()
        share = min(99.0, 100 * arrived / self._store.entry(name).size)
        line = f"models: {name} {arrived / 1e6:.0f} MB ({share:.0f} %)"
        print(line, end="\x1b[K\r" if self._in_place else "\n", flush=True)


_ARRIVAL_SECONDS = 10.0


def _list(store: ModelStore, options: argparse.Namespace) -> None:
    print(f"{store.root}")
    name = max(len(entry.name) for entry in store.entries.values())
    terms = max(len(entry.license.weights) for entry in store.entries.values())
    for entry in store.entries.values():
        mark = "here " if store.has(entry.name) else "-    "
        print(
            f"{mark} {entry.name:{name}} {entry.size / 1e6:7.1f} MB  {entry.license.weights:{terms}}  {entry.task}"
        )


def _present(store: ModelStore, names: list[str]) -> list[str]:
    return names or [name for name in store.entries if store.has(name)]


def _verify(store: ModelStore, options: argparse.Namespace) -> int:
    damaged = 0
    for name in _present(store, options.names):
        try:
            store.verify(name, thorough=True)
            print(f"right    {name}")
        except ModelDamaged as error:
            damaged = 1
            print(f"damaged  {name}: {error}")
    return damaged


def _pack(store: ModelStore, options: argparse.Namespace) -> None:
    pack(store, _present(store, options.names), options.archive)


def _licences(store: ModelStore, options: argparse.Namespace) -> None:
    for entry in store.entries.values():
        print(f"{entry.name}: {entry.license.weights} (code: {entry.license.code})\n  {entry.notice.strip()}")


if __name__ == "__main__":
    sys.exit(main())
