"""Writes two folders of PaddleOCR 3 with tiny networks: `python -m tests.engines.tiny_paddle FOLDER`. FOLDER/det and FOLDER/rec.

The form is that of PP-OCRv5: inference.json, inference.pdiparams, inference.yml. The detector's weights are set so that it really
finds what is bright, on the way that real ones go (down, up by interpolation, up by a transposed convolution); the recogniser's are
random, so that what it reads is noise.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

DETECTOR, RECOGNISER = "PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec"
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_DETECTOR_OPS: list[dict[str, Any]] = [
    {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}},
    {"DetLabelEncode": None},
    {"DetResizeForTest": {"resize_long": 960}},
    {
        "NormalizeImage": {
            "mean": list(_MEAN),
            "std": list(_DEVIATION),
            "order": "hwc",
            "scale": "1./255.",
        }
    },
    {"ToCHWImage": None},
    {"KeepKeys": {"keep_keys": ["image", "shape", "polys", "ignore_tags"]}},
]
# Real ones predict the middle of a line, which is made as wide as the line by 1.5; ours predicts the line.
_DETECTOR_END = {
    "name": "DBPostProcess",
    "thresh": 0.3,
    "box_thresh": 0.6,
    "max_candidates": 1000,
    "unclip_ratio": 0.3,
}
_RECOGNISER_OPS: list[dict[str, Any]] = [
    {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}},
    {"MultiLabelEncode": {"gtc_encode": "NRTRLabelEncode"}},
    {"RecResizeImg": {"image_shape": [3, 48, 320]}},
    {"KeepKeys": {"keep_keys": ["image", "label_ctc", "label_gtc", "length", "valid_ratio"]}},
]
_SIGNS = list("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") + list("的一是不了人我在有他")
_LINE = (3, 15)
"""Rows and columns of the window that joins letters to a line; odd."""


def _detector(paddle: Any) -> Any:
    nn = paddle.nn

    class Bright(nn.Layer):  # type: ignore[name-defined, misc]
        """The share of text around each pixel, 0 to 1: brightness, its mean in a window, a steep step."""

        def __init__(self) -> None:
            super().__init__()
            # Brightness of normalised colours, 0 to 1, from each half of the picture's pixels.
            grey = [[[deviation / 3 / 4] * 2] * 2 for deviation in _DEVIATION]
            self.down = nn.Conv2D(3, 2, 2, stride=2)
            self.down.weight.set_value(paddle.to_tensor([grey, grey]))
            self.down.bias.set_value(paddle.full([2], sum(_MEAN) / 3))
            self.mean = nn.AvgPool2D(_LINE, stride=1, padding=(_LINE[0] // 2, _LINE[1] // 2))
            self.coarse = nn.Conv2D(2, 2, 2, stride=2)
            self.coarse.weight.set_value(paddle.full([2, 2, 2, 2], 1 / 8))
            self.coarse.bias.set_value(paddle.zeros([2]))
            self.up = nn.Conv2DTranspose(2, 1, 2, stride=2)
            self.up.weight.set_value(paddle.full([2, 1, 2, 2], 1 / 2))
            self.up.bias.set_value(paddle.zeros([1]))

        def forward(self, picture: Any) -> Any:
            fine = nn.functional.relu(self.down(picture))
            coarse = nn.functional.interpolate(self.coarse(self.mean(fine)), scale_factor=2, mode="nearest")
            return nn.functional.sigmoid(60 * (self.up(coarse) - 0.12))

    return Bright()


def _recogniser(paddle: Any) -> Any:
    nn = paddle.nn

    class Noise(nn.Layer):  # type: ignore[name-defined, misc]
        """Probabilities of signs, for each eight columns of a line."""

        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2D(3, 16, 3, stride=2, padding=1),
                nn.BatchNorm2D(16),
                nn.Hardswish(),
                nn.Conv2D(16, 16, 3, stride=2, padding=1, groups=16),
                nn.Conv2D(16, 32, 1),
                nn.Hardswish(),
                nn.AvgPool2D((12, 2), stride=(12, 2)),
            )
            self.head = nn.Linear(32, len(_SIGNS) + 2)  # a blank before them, a space behind

        def forward(self, lines: Any) -> Any:
            features = self.body(lines).squeeze(2).transpose([0, 2, 1])
            return nn.functional.softmax(8 * self.head(features), axis=2)

    return Noise()


def _write(
    paddle: Any, folder: Path, network: Any, shape: list[int | None], described: dict[str, Any]
) -> None:
    import yaml

    network.eval()
    static = paddle.jit.to_static(
        network, input_spec=[paddle.static.InputSpec(shape, "float32", "x")], full_graph=True
    )
    paddle.jit.save(static, str(folder / "inference"))
    text = yaml.safe_dump(described, allow_unicode=True, sort_keys=False)
    (folder / "inference.yml").write_text(text, encoding="utf-8")


def main(folder: Path) -> None:
    """Write both folders."""
    import paddle

    paddle.seed(1)
    _write(
        paddle,
        folder / "det",
        _detector(paddle),
        [None, 3, None, None],
        {
            "Global": {"model_name": DETECTOR},
            "PreProcess": {"transform_ops": _DETECTOR_OPS},
            "PostProcess": _DETECTOR_END,
        },
    )
    _write(
        paddle,
        folder / "rec",
        _recogniser(paddle),
        [None, 3, 48, None],
        {
            "Global": {"model_name": RECOGNISER},
            "PreProcess": {"transform_ops": _RECOGNISER_OPS},
            "PostProcess": {"name": "CTCLabelDecode", "character_dict": _SIGNS},
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
