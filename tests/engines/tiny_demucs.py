"""Writes a demucs folder with random weights: `python -m tests.engines.tiny_demucs FOLDER`. A bag, and the HTDemucs in it."""

from __future__ import annotations

import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Write the folder."""
    import torch
    from demucs.htdemucs import HTDemucs
    from demucs.states import get_state

    torch.manual_seed(1)
    folder.mkdir(parents=True)
    sources = ["drums", "bass", "other", "vocals"]
    small = {"channels": 8, "depth": 4, "t_layers": 1, "bottom_channels": 64}
    model = HTDemucs(sources=sources, samplerate=44_100, segment=4, **small)
    # As its own `serialize_model`, which wants a package for training.
    args, kwargs = model._init_args_kwargs
    package = {
        "klass": HTDemucs,
        "args": args,
        "kwargs": kwargs,
        "state": get_state(model, None),
        "training_args": {},
    }
    torch.save(package, folder / "0badcafe.th")
    (folder / "htdemucs.yaml").write_text("models: ['0badcafe']\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
