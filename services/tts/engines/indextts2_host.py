"""Runs in IndexTTS2's own environment and imports nothing of ours: one JSON call a line in, one JSON answer a line out."""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from typing import Any, TextIO


def main(root: str, arguments: str) -> None:
    """Load the model out of the folder `root`, and say what is asked for until standard input ends."""
    out = sys.stdout
    sys.path.insert(0, root)
    # What the model prints goes to standard error; standard output is for answers.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            from indextts.infer_v2 import IndexTTS2

            model = IndexTTS2(**json.loads(arguments))
        except Exception as fault:
            _answer(out, {"error": f"{type(fault).__name__}: {fault}"})
            return
        _answer(out, {"ready": True})
        for line in sys.stdin:
            _answer(out, _say(model, json.loads(line)))


def _say(model: Any, call: dict[str, Any]) -> dict[str, Any]:
    seed = call.pop("seed", None)
    try:
        if seed is not None:
            import torch

            torch.manual_seed(seed)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model.infer(**call)
    except Exception as fault:
        return {"error": f"{type(fault).__name__}: {fault}"}
    return {"truncated": any("max_mel_tokens" in str(one.message) for one in said)}


def _answer(out: TextIO, answer: dict[str, Any]) -> None:
    out.write(json.dumps(answer) + "\n")
    out.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
