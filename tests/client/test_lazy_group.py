"""The root's groups of commands, loaded when they are asked for."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from yivideo_client.cli.lazy_group import GROUPS
from yivideo_client.cli.main import app


@pytest.mark.parametrize("name", GROUPS)
def test_help_names_a_group_and_it_can_be_called(name: str) -> None:
    """What the root's help lists is there, with help of its own."""
    assert f"  {name} " in CliRunner().invoke(app, ["--help"]).stdout
    shown = CliRunner().invoke(app, [name, "--help"])
    assert shown.exit_code == 0 and f"yivideo {name} [OPTIONS] COMMAND" in shown.stdout


@pytest.mark.parametrize("name", GROUPS)
def test_a_mistyped_group_is_told_its_name(name: str) -> None:
    """Groups that were not loaded are among the nearest names, too."""
    shown = CliRunner().invoke(app, [f"{name}x"])
    assert shown.exit_code == 2 and f"'{name}'" in shown.stderr
