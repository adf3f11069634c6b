"""The Containerfile and its context say what README.md promises; what is built is looked through by `make images`."""

from __future__ import annotations

import re
import subprocess
import tomllib

from stack.environments import main as environments
from stack.node_table import NodeRow, read_node_table
from tests.conftest import ROOT
from tests.images.image import LABELS

FOLDER = ROOT / "deploy" / "images"
CONTAINERFILE = (FOLDER / "Containerfile").read_text(encoding="utf-8")


def stages() -> dict[str, tuple[str, str]]:
    """Each stage's name to what it is made from and its lines."""
    parts = re.split(r"^FROM (\S+) AS (\S+)$", CONTAINERFILE, flags=re.MULTILINE)[1:]
    return {
        name: (base, lines) for base, name, lines in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    }


def targets() -> dict[str, str]:
    """The stages that are images: those that say whom they run as. Name to lines, those of what they are made on included."""
    return {
        name: _lines(name)
        for name, (_, lines) in stages().items()
        if re.search("^USER ", lines, re.MULTILINE)
    }


def _lines(name: str) -> str:
    """A stage's lines, after those of the stages that it is made on."""
    found = stages()
    base, lines = found[name]
    return (_lines(base) if base in found else "") + lines


def environments_of_nodes() -> dict[str, list[NodeRow]]:
    """Each environment of services/nodes.toml, alternatives included, with the nodes that can run on it."""
    found: dict[str, list[NodeRow]] = {}
    for row in read_node_table():
        for environment in (row.environment, *row.alternatives):
            found.setdefault(environment, []).append(row)
    return found


def test_there_is_an_image_for_each_environment_and_no_other(capsys: object) -> None:
    """A node's environment in services/nodes.toml without an image could not be deployed; an image without one would rot."""
    wanted = {"core", *environments_of_nodes()}
    assert set(targets()) == wanted
    for name in wanted:
        assert environments([name]) == 0
        assert f"sh /environment.sh {name}\n" in CONTAINERFILE, f"{name} is not made out of its own lock"
        assert f"COPY --from={name}-packages /opt/venv /opt/venv" in targets()[name]


def test_images_run_as_a_number_under_a_reaper_and_carry_their_labels() -> None:
    """Kubernetes cannot see that a name is not root; without a reaper the children of children would stay as zombies."""
    for name, lines in targets().items():
        users = re.findall(r"^USER (.+)$", lines, re.MULTILINE)
        assert users == ["10001:10001"], name
        assert lines.index("USER ") > lines.rindex("RUN "), (
            f"{name}: something is still installed as a plain user"
        )
        assert re.search(r'^ENTRYPOINT \["/usr/bin/tini", "--", ', lines, re.MULTILINE), name
        for label in LABELS:
            assert f"org.opencontainers.image.{label}=" in lines, (name, label)


def test_every_node_of_an_image_is_named_by_it() -> None:
    """Who reads an image's description learns which nodes it can be."""
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    for environment, rows in environments_of_nodes().items():
        description = re.search(r'image\.description="([^"]+)"', targets()[environment])
        line = re.search(rf"^\| `yivideo-{environment}` \|.*$", page, re.MULTILINE)
        for row in rows:
            assert description is not None and row.name in description[1]
            assert line is not None and f"`{row.module}`" in line[0]


def test_commands_that_nodes_need_and_prefer_are_installed() -> None:
    """Each program of services/nodes.toml comes in a Debian package of its node's image."""
    packages = {"ffmpeg": "ffmpeg", "ffprobe": "ffmpeg", "tesseract": "tesseract-ocr"}
    for environment, row in ((name, row) for name, rows in environments_of_nodes().items() for row in rows):
        lines = targets()[environment].replace("\\\n", " ")
        installed = {
            word for words in re.findall(r"sh /packages\.sh ([^&\n]+)", lines) for word in words.split()
        }
        for command in (*row.needs.commands, *row.prefers.commands):
            assert packages[command] in installed, (environment, row.name, command)


def test_what_builds_stays_behind() -> None:
    """Only the folders of packages and of the application are taken out of the stages that have compilers' kin and secrets."""
    for name, lines in targets().items():
        copied = re.findall(r"^COPY --from=\S+ (\S+) ", lines, re.MULTILINE)
        assert copied == ["/opt/venv", "/opt/yivideo"], name
        assert not re.findall(r"^(?:ADD|COPY (?!--from)).*$", lines, re.MULTILINE), (
            f"{name} copies out of the context"
        )
        for installed in re.findall(r"sh /packages\.sh ([^&]+)", lines):
            assert not {"python3-venv", "python3-pip", "build-essential", "gcc", "git"} & set(
                installed.split()
            )


def test_layers_are_made_anew_when_a_script_has_changed() -> None:
    """A RUN's words make a layer, not what it mounts, says buildah: without a digest it went on with what old scripts had made."""
    for name, (base, lines) in stages().items():
        if base == "${BASE}":
            before = re.split(r"^RUN ", lines, flags=re.MULTILINE)[0]
            assert re.search(r"^ARG SCRIPTS$", before, re.MULTILINE), name
        else:
            assert base in stages(), f"{name} is made on something that the digest does not reach"
    assert '--build-arg "SCRIPTS=$scripts"' in (FOLDER / "build.sh").read_text(encoding="utf-8")


def test_no_secret_is_an_argument() -> None:
    """Arguments stay in an image's history; what a build is told in private comes by mounts, which do not."""
    assert set(re.findall(r"^ARG (\w+)", CONTAINERFILE, re.MULTILINE)) == {
        "BASE",
        "VERSION",
        "REVISION",
        "CREATED",
        "SCRIPTS",
    }
    script = (FOLDER / "build.sh").read_text(encoding="utf-8")
    for secret in re.findall(r"type=secret,id=(\w+)", CONTAINERFILE):
        assert f'--secret "id={secret},' in script


def test_the_context_is_a_list_of_what_is_needed() -> None:
    """Nothing gets in that is not named: every package of the wheel is, and no folder that holds data, keys or environments."""
    lines = (FOLDER / "Containerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    made = {"yivideo"}  # by protos/generate.sh, inside the build; its pattern also stands for yivideo_client
    assert packages - made <= allowed
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    ).stdout.splitlines()
    tops = {name.partition("/")[0] for name in tracked}
    for entry in allowed:
        assert entry.partition("/")[0] in tops, f"{entry} is in the context and not in the repository"
