"""`make map`: whether the map is true.

Every source file of a room stands in a README with a line that says more than its name; every file and symbol that
ARCHITECTURE.md's table of changes names exists, the symbol in the file before it; and so does whatever else that page sets in
code font. Prints one line of JSON; fails when something is missing.

Rooms are what import-linter knows of; tests and benches mirror them and say their law themselves. An `__init__.py` counts only
when there is code in it beside what it passes on, a `__main__.py` never: its name is its line.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_ROW = re.compile(r"^\| ([^|]*`[^|]*) \| ([^|]+).*\|$", re.MULTILINE)
_CHANGE = re.compile(r"^\| (?P<change>[^|`]+) \| (?P<open>[^|]*`[^|]*) \|$", re.MULTILINE)
_PATH = re.compile(r"[\w.*-]*/[\w./*-]*|[\w-]+\.(md|toml|in|yaml)|Makefile")


def rooms() -> list[str]:
    """The top folders that hold the product's code."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [*told["tool"]["importlinter"]["root_packages"], "protos", "setup"]


def has_code(path: Path) -> bool:
    """Whether a file is more than a package's docstring or its start."""
    if path.name != "__init__.py":
        return path.name != "__main__.py"
    passed_on = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign)
    return not all(isinstance(part, passed_on) for part in ast.parse(path.read_text()).body)


def source_files(room: str) -> list[Path]:
    """The room's tracked sources."""
    kinds = [f"{room}/**/*.{kind}" for kind in ("py", "lua", "proto", "sh")] + [
        f"{room}/*.{kind}" for kind in ("py", "lua", "proto", "sh")
    ]
    listed = subprocess.check_output(
        ["git", "ls-files", "-co", "--exclude-standard", *kinds], cwd=ROOT, text=True
    )
    return [
        ROOT / name
        for name in dict.fromkeys(listed.split())
        if (ROOT / name).exists() and has_code(ROOT / name)
    ]


def line_of(path: Path) -> str:
    """What the nearest README that has a line for a file says of it; empty: none does."""
    for folder in path.relative_to(ROOT).parents[:-1]:
        readme, name = ROOT / folder / "README.md", str(path.relative_to(ROOT / folder))
        for names, line in _ROW.findall(readme.read_text()) if readme.exists() else ():
            if name in re.findall(r"`([^`]+)`", names):
                return str(line)
    return ""


def gone_files(room: str) -> list[str]:
    """What the READMEs of a room still name although it is gone."""
    named = {
        readme.parent / name
        for readme in (ROOT / room).rglob("README.md")
        for names, _ in _ROW.findall(readme.read_text())
        for name in re.findall(r"`([\w./-]+\.(?:py|lua|proto|sh))`", names)
    }
    return sorted(str(path.relative_to(ROOT)) for path in named if not path.exists())


def says_more(path: Path, line: str) -> bool:
    """Whether a line has at least two words that are not the file's own name."""
    words = set(re.findall(r"[a-z]{2,}", line.lower())) - set(re.findall(r"[a-z]+", path.stem.lower()))
    return len(words) >= 2


def faults(opened: str) -> list[str]:
    """What a row of the table of changes names that does not exist: a path, or a symbol that the path before it does not have."""
    wrong, text, paths = [], "", 0
    for token in re.findall(r"`([^`]+)`", opened):
        if _PATH.fullmatch(token):
            found = list(ROOT.glob(token.rstrip("/")))
            paths += 1
            text = found[0].read_text() if found and found[0].is_file() else ""
            wrong += [] if found else [token]
        elif not re.search(rf"(?<!\w){re.escape(token)}(?!\w)", text):
            wrong.append(token)
    return wrong if paths else [*wrong, "no file is named"]


def change_table() -> list[tuple[str, str]]:
    """The rows of ARCHITECTURE.md's "To change X, open Y"."""
    section = (ROOT / "ARCHITECTURE.md").read_text().partition("## To change")[2].partition("\n## ")[0]
    return [(row["change"], row["open"]) for row in _CHANGE.finditer(section)]


def unknown_names() -> list[str]:
    """Paths and names in code font anywhere on the page that nothing in the tree bears."""
    page = (ROOT / "ARCHITECTURE.md").read_text()
    listed = subprocess.check_output(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True
    ).split()
    files = [
        ROOT / name
        for name in listed
        if name.endswith((".py", ".lua", ".proto", ".toml")) or name == "Makefile"
    ]
    words = set(re.findall(r"\w+", " ".join(path.read_text() for path in files if path.exists())))
    wrong = []
    for token in dict.fromkeys(re.findall(r"`([^`\n]+)`", page)):
        if re.fullmatch(r"[\w.-]+/[\w./*-]*", token):
            wrong += [] if any(f"/{token}" in f"/{name}" for name in listed) else [token]
        elif re.fullmatch(r"[\w.]+", token):
            wrong += [] if words.issuperset(token.split(".")) else [token]
    return wrong


def main() -> int:
    unnamed = [
        path.relative_to(ROOT)
        for room in rooms()
        for path in source_files(room)
        if not says_more(path, line_of(path))
    ]
    rows = [(change, faults(opened)) for change, opened in change_table()]
    wrong = [(change, missing) for change, missing in rows if missing]
    for path in unnamed:
        print(f"map: no README has a line for {path} that says more than its name", file=sys.stderr)
    for change, missing in wrong:
        print(f"map: {change!r} names what is not there: {', '.join(missing)}", file=sys.stderr)
    unknown = [*unknown_names(), *(name for room in rooms() for name in gone_files(room))]
    for name in unknown:
        print(f"map: ARCHITECTURE.md or a README names {name}, which is not there", file=sys.stderr)
    told = {"files_unnamed": len(unnamed), "change_table_rows": len(rows), "change_table_wrong": len(wrong)}
    print("RESULT", json.dumps(told, separators=(",", ":")))
    return 0 if not (unnamed or wrong or unknown) and len(rows) >= 20 else 1


if __name__ == "__main__":
    sys.exit(main())
