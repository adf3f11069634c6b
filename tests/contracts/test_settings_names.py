"""Every setting that is written about exists, every one that exists is written about, and every section is known to all."""

from __future__ import annotations

import re
import subprocess

import pytest

from runtime.section_names import DELIMITER, OTHER_VARIABLES, PREFIX, SECTIONS, is_setting
from runtime.settings_outline import settings_of
from tests import settings_page
from tests.conftest import ROOT

_VARIABLE = re.compile(r"\bYIVIDEO_[A-Z0-9_]*[A-Z0-9](?![A-Z0-9_]*…)")


def written_variables() -> dict[str, list[str]]:
    """Every YIVIDEO_ variable that a document, the Makefile or a script names, with where."""
    names = subprocess.run(
        ["git", "ls-files", "*.md", "Makefile", "*.sh", "*.toml", "*.yaml", "*.yml"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=30,
    ).stdout.split()  # fmt: skip
    found: dict[str, list[str]] = {}
    for name in names:
        path = ROOT / name
        if path.is_file():
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                for variable in _VARIABLE.findall(line):
                    found.setdefault(variable, []).append(f"{name}:{number}")
    return found


@pytest.mark.trial("10.5")
def test_every_variable_that_is_written_about_is_a_setting() -> None:
    """A reader who copies a variable out of README, docs or a script sets something with it."""
    known = {
        setting.variable
        for _, kinds in settings_page.PROCESSES
        for kind in kinds
        for setting in settings_of(kind)
    }
    sections = {f"{PREFIX}{name.upper()}" for name in SECTIONS}
    written = written_variables()
    assert len(written) > 20
    wrong = {
        variable: where
        for variable, where in written.items()
        if is_setting(variable)
        and variable not in known
        and variable not in OTHER_VARIABLES
        and variable not in sections
    }
    assert not wrong


def test_every_section_is_known_to_every_process() -> None:
    """The list of sections, by which a process tells a slip from another's section, is that of the classes."""
    assert set(settings_page.sections()) == SECTIONS
    assert not [name for name in OTHER_VARIABLES if is_setting(name) or DELIMITER in name]


def test_variables_that_our_own_programs_read_are_known() -> None:
    """What a command line of ours takes from the environment must not keep a server in the same shell from starting."""
    names = subprocess.run(
        ["git", "grep", "-hoE", '"YIVIDEO_[A-Z0-9_]+"', "--", "*.py", ":!tests", ":!bench"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=30,
    ).stdout.split()  # fmt: skip
    found = {name.strip('"') for name in names}
    assert len(found) > 5
    assert not [
        name for name in found if DELIMITER not in name and not name.endswith("_") and is_setting(name)
    ]


@pytest.mark.trial("10.5")
def test_the_page_of_settings_is_up_to_date() -> None:
    """docs/settings.md is what the classes say: `make settings` writes it."""
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page()


def test_every_setting_says_what_it_does() -> None:
    """No row of the page is without its effect, and a section says what it is."""
    rows = [line.split("|") for line in settings_page.page().splitlines() if line.startswith("| `")]
    assert len(rows) > 200
    assert not [row[1].strip() for row in rows if not row[-2].strip()]
