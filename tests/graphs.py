"""Graphs that are not what a model's card says, in folders whose checksums are right."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from unbabble.inference.model_folder import checksum


def constant(name: str, value, dtype=np.int64) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(value, dtype)))


def doubled(factor: float = 1.0, *, inputs="mixture", outputs="estimates", samples="samples") -> onnx.GraphProto:
    """Both estimates are the mixture, ``factor`` times."""
    nodes = [
        constant("axis", [1]),
        constant("factor", factor, dtype=np.float32),
        helper.make_node("Mul", [inputs, "factor"], ["louder"]),
        helper.make_node("Unsqueeze", ["louder", "axis"], ["row"]),
        helper.make_node("Concat", ["row", "row"], [outputs], axis=1),
    ]
    given = helper.make_tensor_value_info(inputs, TensorProto.FLOAT, ["batch", samples])
    made = helper.make_tensor_value_info(outputs, TensorProto.FLOAT, ["batch", None, None])
    return helper.make_graph(nodes, "doubled", [given], [made])


def endless() -> onnx.GraphProto:
    """A loop that goes on for as long as there are numbers, before the estimates of ``doubled``."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Sin", ["before"], ["after"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, ["batch", "samples"]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, ["batch", "samples"]),
        ],
    )
    graph = doubled()
    graph.node[2].input[0] = "turned"
    loop = helper.make_node("Loop", ["turns", "ever", "mixture"], ["turned"], body=body)
    before = [constant("turns", 2**62), constant("ever", True, dtype=bool), loop]
    nodes = [*before, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return graph


def with_graph(model: Path, folder: Path, graph: onnx.GraphProto, role: str = "separator") -> Path:
    """A copy of a model folder that has this graph."""
    shutil.copytree(model, folder)
    path = folder / f"{role}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    card = json.loads((folder / "model.json").read_text())
    card["checksums"][path.name] = checksum(path)
    (folder / "model.json").write_text(json.dumps(card))
    return folder
