"""What the engine modules must not know."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import media
import services.ffmpeg

ABOVE_THE_ENGINES = {"__init__", "__main__", "node", "inputs", "outputs", "options", "settings", "hardware"}


def test_engines_import_no_grpc() -> None:
    """Importing every engine module loads neither gRPC nor nodekit."""
    folder = Path(str(services.ffmpeg.__file__)).parent
    shared = [f"import media.{path.stem}" for path in Path(str(media.__file__)).parent.glob("[!_]*.py")]
    engines = sorted({path.stem for path in folder.glob("*.py")} - ABOVE_THE_ENGINES)
    imports = "; ".join([*shared, *(f"import services.ffmpeg.{engine}" for engine in engines)])
    check = "print(sorted({name.partition('.')[0] for name in sys.modules} & {'grpc', 'nodekit', 'runtime', 'yivideo'}))"
    shown = subprocess.run(
        [sys.executable, "-c", f"import sys; {imports}; {check}"],
        cwd=folder.parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(engines) > 10 and len(shared) > 7
    assert shown.stdout.strip() == "[]"
