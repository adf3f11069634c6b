"""Model folders of PaddleOCR as far as a node looks at them by itself: described as real ones are, with no network inside."""

from __future__ import annotations

from pathlib import Path

import yaml

DETECTOR, RECOGNISER = "PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec"


def described(name: str) -> str:
    """The inference.yml of a model, of the kind that its name says."""
    end: dict[str, object] = {"name": "DBPostProcess", "thresh": 0.3}
    if name.endswith("_rec"):
        end = {"name": "CTCLabelDecode", "character_dict": ["a", "b", "的"]}
    document = {"Global": {"model_name": name}, "PreProcess": {"transform_ops": []}, "PostProcess": end}
    return yaml.safe_dump(document, allow_unicode=True)


def written(folder: Path, name: str) -> Path:
    """Write a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inference.yml").write_text(described(name), encoding="utf-8")
    for file in ("inference.json", "inference.pdiparams"):
        (folder / file).write_bytes(b"no network")
    return folder
