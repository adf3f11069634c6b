"""Writes the CAM++ speaker embedding network as an ONNX graph, filled with the tensors of its published checkpoint.

The network is described here layer by layer after the paper (Wang et al., "CAM++: A Fast and Efficient Network for Speaker
Verification Using Context-Aware Masking", Interspeech 2023), with the layer sizes and tensor names of the checkpoint
`campplus_cn_en_common.pt` (192 numbers per voice). It runs once, when the model is installed: no process that works needs
PyTorch, or the `onnx` package.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from services.diarize.torch_tensors import NotTensors, Tensors, read_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHECKPOINT = "campplus_cn_en_common.pt"
GRAPH = "campplus.onnx"
MEL_BANDS = 80
EMBEDDING_SIZE = 192
_BLOCKS = ((12, 1), (24, 2), (16, 2))
"""Layers and dilation of each densely connected block; every kernel is 3 frames wide."""
_POOL_FRAMES = 100
_EPSILON = 1e-5
_OPSET = 17
_IR_VERSION = 8


def convert(fetched: Path, target: Path) -> None:
    """Write `campplus.onnx` into one folder out of `campplus_cn_en_common.pt` in the other: the model store's hook.

    Raises NotTensors when the checkpoint is not CAM++.
    """
    model = build(read_tensors(fetched / CHECKPOINT))
    (target / GRAPH).write_bytes(model.SerializeToString(deterministic=True))


def build(tensors: Tensors) -> onnx.ModelProto:
    """Return the model: `x`, float32 (windows, frames, 80), to `e`, float32 (windows, 192). Raises NotTensors."""
    try:
        return _Writer(tensors).model()
    except KeyError as error:
        raise NotTensors(f"the checkpoint has no tensor {error}: it is not CAM++ of this size") from error


class _Writer:
    """The graph while it is written; each method adds nodes and returns the name of what comes out of them."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}

    def model(self) -> onnx.ModelProto:
        self._network(self._op("Unsqueeze", self._op("Transpose", "x", perm=[0, 2, 1]), self._ints(1)))
        self._nodes[-1].output[0] = "e"
        graph = helper.make_graph(
            self._nodes,
            "campplus",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["windows", "frames", MEL_BANDS])],
            [helper.make_tensor_value_info("e", TensorProto.FLOAT, ["windows", EMBEDDING_SIZE])],
            list(self._initializers.values()),
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="yivideo")

    def _network(self, x: str) -> str:
        x = self._front(x)
        x = self._norm(self._conv(x, "xvector.tdnn.linear", stride=[2], pad=[2]), "xvector.tdnn.nonlinear")
        for number, (layers, dilation) in enumerate(_BLOCKS, 1):
            for layer in range(1, layers + 1):
                grown = self._dense_layer(x, f"xvector.block{number}.tdnnd{layer}", dilation)
                x = self._op("Concat", x, grown, axis=1)
            transit = f"xvector.transit{number}"
            x = self._conv(self._norm(x, f"{transit}.nonlinear"), f"{transit}.linear")
        x = self._statistics(self._norm(x, "xvector.out_nonlinear"))
        x = self._conv(self._op("Unsqueeze", x, self._ints(2)), "xvector.dense.linear")
        return self._op("Squeeze", self._norm(x, "xvector.dense.nonlinear", relu=False), self._ints(2))

    def _front(self, x: str) -> str:
        """Two residual stages that see frequency and time as a picture, and halve the frequencies three times."""
        x = self._picture(x, "head.conv1", "head.bn1")
        for layer in (1, 2):
            for block in (0, 1):
                x = self._residual(x, f"head.layer{layer}.{block}", halve=block == 0)
        x = self._picture(x, "head.conv2", "head.bn2", stride=[2, 1])
        channels = self._tensors["head.conv2.weight"].shape[0] * (MEL_BANDS // 8)
        return self._op("Reshape", x, self._ints(0, channels, -1))

    def _residual(self, x: str, name: str, *, halve: bool) -> str:
        stride = [2, 1] if halve else [1, 1]
        inner = self._picture(x, f"{name}.conv1", f"{name}.bn1", stride=stride)
        inner = self._picture(inner, f"{name}.conv2", f"{name}.bn2", relu=False)
        if halve:
            shortcut = self._conv(x, f"{name}.shortcut.0", stride=stride, pad=[0, 0])
            x = self._norm(shortcut, f"{name}.shortcut.1", relu=False, suffix="")
        return self._op("Relu", self._op("Add", inner, x))

    def _picture(
        self, x: str, conv: str, norm: str, *, stride: Sequence[int] = (1, 1), relu: bool = True
    ) -> str:
        return self._norm(self._conv(x, conv, stride=list(stride), pad=[1, 1]), norm, relu=relu, suffix="")

    def _dense_layer(self, x: str, name: str, dilation: int) -> str:
        x = self._conv(self._norm(x, f"{name}.nonlinear1"), f"{name}.linear1")
        x = self._norm(x, f"{name}.nonlinear2")
        cam = f"{name}.cam_layer"
        local = self._conv(x, f"{cam}.linear_local", pad=[dilation], dilation=[dilation])
        context = self._op("Add", self._op("ReduceMean", x, axes=[2]), self._by_pieces(x))
        mask = self._conv(self._op("Relu", self._conv(context, f"{cam}.linear1")), f"{cam}.linear2")
        return self._op("Mul", local, self._op("Sigmoid", mask))

    def _by_pieces(self, x: str) -> str:
        """Return, for each frame, the mean of the hundred frames that it belongs to (fewer at the end)."""
        means = self._op("AveragePool", x, kernel_shape=[_POOL_FRAMES], strides=[_POOL_FRAMES], ceil_mode=1)
        wide = self._op(
            "Expand", self._op("Unsqueeze", means, self._ints(3)), self._ints(1, 1, 1, _POOL_FRAMES)
        )
        spread = self._op("Reshape", wide, self._ints(0, 0, -1))
        frames = self._op("Shape", x, start=2, end=3)
        return self._op("Slice", spread, self._ints(0), frames, self._ints(2))

    def _statistics(self, x: str) -> str:
        """Return mean and standard deviation (n - 1) over time."""
        mean = self._op("ReduceMean", x, axes=[2])
        squares = self._op("ReduceSumSquare", self._op("Sub", x, mean), axes=[2], keepdims=0)
        frames = self._op("Cast", self._op("Shape", x, start=2, end=3), to=TensorProto.FLOAT)
        fewer = self._op("Max", self._op("Sub", frames, self._floats(1)), self._floats(1))
        deviation = self._op("Sqrt", self._op("Div", squares, fewer))
        return self._op("Concat", self._op("Squeeze", mean, self._ints(2)), deviation, axis=1)

    def _conv(
        self,
        x: str,
        name: str,
        *,
        stride: Sequence[int] = (1,),
        pad: Sequence[int] = (0,),
        dilation: Sequence[int] | None = None,
    ) -> str:
        inputs = [x, self._tensor(f"{name}.weight")]
        if f"{name}.bias" in self._tensors:
            inputs.append(self._tensor(f"{name}.bias"))
        return self._op(
            "Conv",
            *inputs,
            strides=list(stride),
            pads=[*pad, *pad],
            dilations=list(dilation or [1] * len(pad)),
        )

    def _norm(self, x: str, name: str, *, relu: bool = True, suffix: str = ".batchnorm") -> str:
        name += suffix
        size = len(self._tensors[f"{name}.running_mean"])
        scale = self._tensors.get(f"{name}.weight", np.ones(size, np.float32))
        shift = self._tensors.get(f"{name}.bias", np.zeros(size, np.float32))
        inputs = [self._keep(f"{name}.weight", scale), self._keep(f"{name}.bias", shift)]
        inputs += [self._tensor(f"{name}.running_mean"), self._tensor(f"{name}.running_var")]
        x = self._op("BatchNormalization", x, *inputs, epsilon=_EPSILON)
        return self._op("Relu", x) if relu else x

    def _op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        out = f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def _tensor(self, name: str) -> str:
        return self._keep(name, self._tensors[name])

    def _ints(self, *values: int) -> str:
        return self._keep("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def _floats(self, *values: float) -> str:
        return self._keep("floats_" + "_".join(map(str, values)), np.array(values, np.float32))

    def _keep(self, name: str, values: NDArray[Any]) -> str:
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name
