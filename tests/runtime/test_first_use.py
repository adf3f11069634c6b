"""Packages that wait for their first use, in interpreters of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]


def told(code: str, folder: Path) -> dict[str, object]:
    """What a fresh interpreter prints last, as JSON."""
    path = f"import sys; sys.path[:0] = [{str(_ROOT)!r}, {str(folder)!r}]\n"
    done = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a package that says when it is loaded."""
    package = tmp_path / "slow"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import sys, time\n"
        "sys.loaded = getattr(sys, 'loaded', 0) + 1\n"
        "from slow import part\n"
        "time.sleep(0.05)\n"
        "ANSWER = part.HALF * 2\n"
    )
    (package / "part.py").write_text("HALF = 21\n")
    return tmp_path


_BEGIN = """
import inspect, json
from runtime.first_use import on_first_use
on_first_use("slow", "no_such_package")
import slow
"""


def test_a_package_is_loaded_once_when_a_name_of_it_is_read(folder: Path) -> None:
    """Neither its import nor a look through all modules loads it; reading a name does, once; a wrong name is an error."""
    code = """
inspect.getmodule(json.dumps)
before = getattr(sys, "loaded", 0)
answers = [slow.ANSWER, slow.ANSWER, hasattr(slow, "NOTHING")]
print(json.dumps({"before": before, "answers": answers, "loaded": sys.loaded, "same": sys.modules["slow"] is slow}))
"""
    assert told(_BEGIN + code, folder) == {
        "before": 0,
        "answers": [42, 42, False],
        "loaded": 1,
        "same": True,
    }


def test_the_import_of_a_part_loads_the_whole_first(folder: Path) -> None:
    """What the import system promises of parents holds."""
    code = """
import slow.part
print(json.dumps({"loaded": sys.loaded, "answer": slow.ANSWER, "half": slow.part.HALF}))
"""
    assert told(_BEGIN + code, folder) == {"loaded": 1, "answer": 42, "half": 21}


def test_threads_that_come_at_once_all_see_the_whole_package(folder: Path) -> None:
    """Nobody reads a package that another thread is still loading."""
    code = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    answers = list(pool.map(lambda _: slow.ANSWER, range(8)))
print(json.dumps({"answers": sorted(set(answers)), "loaded": sys.loaded}))
"""
    assert told(_BEGIN + code, folder) == {"answers": [42], "loaded": 1}


@pytest.mark.parametrize("module", ["services.asr", "scheduler"])
def test_who_waits_for_work_has_no_numpy_and_no_http_client(module: str, tmp_path: Path) -> None:
    """What a node declares is known without the packages that its workers compute with."""
    code = f"""
import json
import {module}.__main__
print(json.dumps({{"loaded": [one for one in ("numpy.linalg", "aiohttp.client", "rich") if one in sys.modules]}}))
"""
    assert told(code, tmp_path) == {"loaded": []}
