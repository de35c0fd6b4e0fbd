#!/usr/bin/env python3
"""Writes ONNX's own backend node tests as conformance cases, one safetensors file each.

usage: make-onnx-cases.py OUT [--seed N] [--type float32|float16|bfloat16|float64]

Needs onnx 1.23.2 and numpy (bfloat16: ml_dtypes). Operators: Attention (opsets 23 to 25), RotaryEmbedding, Softmax,
LayerNormalization, RMSNormalization, Gelu, Conv, CausalConvWithState, LinearAttention. Without options the cases are as ONNX has them. With --seed every tensor
of finite numbers is drawn anew from the standard normal distribution, with --type numbers are converted, and the
outputs are then those of ONNX's reference evaluator. The layout is that of Tests/Fixtures/conformance.
"""
import argparse, json, os, struct
import ml_dtypes, numpy as np, onnx
from onnx.backend.test.case.node import collect_testcases
from onnx.reference import ReferenceEvaluator

OPERATORS = ["Attention", "RotaryEmbedding", "Softmax", "LayerNormalization", "RMSNormalization", "Gelu", "Conv",
             "CausalConvWithState", "LinearAttention"]
NAMES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "bool": "BOOL"}


def array(value):
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def save(path, tensors, metadata):
    """Writes a safetensors file: the header's length, the header, the data."""
    header, data = {"__metadata__": metadata}, b""
    for name, tensor in tensors.items():
        end = len(data) + tensor.nbytes
        header[name] = {"dtype": NAMES[tensor.dtype.name], "shape": tensor.shape, "data_offsets": [len(data), end]}
        data += np.ascontiguousarray(tensor).tobytes()
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def changed(value, random, type_name):
    """Draws a tensor of finite numbers anew, and converts numbers."""
    if value.dtype.name in ("int64", "bool"):
        return value
    if random is not None and np.isfinite(value.astype(np.float64)).all():
        value = random.standard_normal(value.shape).astype(value.dtype)
    return value.astype(np.dtype(type_name)) if type_name else value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--type", choices=["float32", "float16", "bfloat16", "float64"])
    arguments = parser.parse_args()
    random = None if arguments.seed is None else np.random.default_rng(arguments.seed)
    folder = os.path.join(arguments.out, "onnx")
    os.makedirs(folder, exist_ok=True)
    for case in collect_testcases():
        nodes = case.model.graph.node
        # The "expanded" twins spell the operator out as other nodes.
        if len(nodes) != 1 or nodes[0].op_type not in OPERATORS or "_expanded" in case.name:
            continue
        inputs, outputs = ([array(value) for value in values] for values in case.data_sets[0])
        if random is not None or arguments.type:
            inputs = [changed(value, random, arguments.type) for value in inputs]
            names = [name for name in nodes[0].input if name]
            outputs = [np.asarray(y) for y in ReferenceEvaluator(case.model).run(None, dict(zip(names, inputs)))]
        metadata = {
            "operator": nodes[0].op_type, "opset": str(case.model.opset_import[0].version), "rtol": str(case.rtol),
            "atol": str(case.atol), "inputs": json.dumps(list(nodes[0].input)),
            "outputs": json.dumps(list(nodes[0].output)),
            "attributes": json.dumps({a.name: onnx.helper.get_attribute_value(a) for a in nodes[0].attribute},
                                     default=bytes.decode)}
        tensors = {}
        for kind, names, values in (("input", nodes[0].input, inputs), ("output", nodes[0].output, outputs)):
            present = [position for position, name in enumerate(names) if name]
            for position, value in zip(present, values, strict=True):
                tensors[f"{kind}.{position}"] = value
                metadata[f"shape:{kind}.{position}"] = json.dumps(value.shape)
        save(os.path.join(folder, case.name.removeprefix("test_") + ".safetensors"), tensors, metadata)


main()
