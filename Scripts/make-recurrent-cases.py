#!/usr/bin/env python3
"""Writes cases of ONNX's RNN, GRU and LSTM that its own tests do not have, one safetensors file each.

usage: make-recurrent-cases.py OUT

Needs onnx 1.23.2, onnxruntime 1.32 and numpy. The inputs are random; the outputs are what ONNX Runtime computes of
them on the CPU. It does not know `layout` 1: such a case is computed with `layout` 0 and its axes are exchanged, which
is what the attribute means. It does not clip an LSTM's cell where it is let out (microsoft/onnxruntime issue 27224),
which ONNX asks for: the numbers of such a case are drawn until no cell is beyond the bound. The layout of the files is
that of Tests/Fixtures/conformance.
"""
import json, os, struct, sys
import numpy as np, onnx, onnxruntime
from onnx import helper

STEPS, BATCH, INPUTS, UNITS, OPSET = 5, 3, 2, 7, 22
NAMES = {"float32": "F32", "int32": "I32"}
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
INPUT_NAMES = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
OUTPUT_NAMES = ["Y", "Y_h", "Y_c"]

# Name: operator, inputs beside X, W and R, attributes.
ALL = ["B", "sequence_lens", "initial_h", "initial_c", "P"]
CASES = {
    "rnn_reverse_ragged_clip": ("RNN", ["B", "sequence_lens", "initial_h"], {"direction": "reverse", "clip": 0.4}),
    "rnn_bidirectional_activations": (
        "RNN", ["B"], {"direction": "bidirectional", "activations": ["LeakyRelu", "Affine"],
                       "activation_alpha": [0.3, 0.7], "activation_beta": [0.1]}),
    "gru_linear_before_reset": ("GRU", ["B", "initial_h"], {"linear_before_reset": 1}),
    "gru_linear_before_reset_bidirectional_ragged": (
        "GRU", ["B", "sequence_lens", "initial_h"], {"linear_before_reset": 1, "direction": "bidirectional"}),
    "gru_reverse_ragged": ("GRU", ["B", "sequence_lens"], {"direction": "reverse"}),
    "gru_activations_clip": (
        "GRU", ["B"], {"activations": ["HardSigmoid", "ScaledTanh"], "activation_alpha": [0.3, 1.7],
                       "activation_beta": [0.4, 0.6], "clip": 0.5}),
    "gru_layout_linear_before_reset_ragged": (
        "GRU", ["B", "sequence_lens", "initial_h"], {"layout": 1, "linear_before_reset": 1}),
    "lstm_peepholes_clip": ("LSTM", ["B", "initial_h", "initial_c", "P"], {"clip": 0.5}),
    "lstm_peepholes_input_forget": ("LSTM", ["B", "initial_h", "initial_c", "P"], {"input_forget": 1}),
    "lstm_reverse_ragged": ("LSTM", ["B", "sequence_lens"], {"direction": "reverse"}),
    "lstm_bidirectional_ragged_peepholes": ("LSTM", ALL, {"direction": "bidirectional"}),
    "lstm_layout_bidirectional": ("LSTM", ["B", "initial_h", "initial_c"], {"layout": 1, "direction": "bidirectional"}),
    "lstm_activations": (
        "LSTM", ["B"], {"activations": ["HardSigmoid", "Elu", "Softsign"], "activation_alpha": [0.3, 0.6],
                        "activation_beta": [0.4]}),
}


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


def make(operator, present, attributes, random):
    """Returns the inputs by name and the outputs by name, in the layout that the attributes ask for."""
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    rows = GATES[operator] * UNITS
    shapes = {
        "X": (STEPS, BATCH, INPUTS), "W": (directions, rows, INPUTS), "R": (directions, rows, UNITS),
        "B": (directions, 2 * rows), "initial_h": (directions, BATCH, UNITS), "initial_c": (directions, BATCH, UNITS),
        "P": (directions, 3 * UNITS)}
    inputs = {name: (random.standard_normal(shape) * 0.6).astype(np.float32) for name, shape in shapes.items()}
    inputs["initial_c"] *= 0.5
    inputs["sequence_lens"] = np.array([2, STEPS, 3], np.int32)
    names = [name if name in ["X", "W", "R"] + present else "" for name in INPUT_NAMES]
    while not names[-1]:
        names.pop()
    outputs = OUTPUT_NAMES[:3 if operator == "LSTM" else 2]
    runtime = {name: value for name, value in attributes.items() if name != "layout"}
    node = helper.make_node(operator, names, outputs, hidden_size=UNITS, **runtime)
    inputs = {name: inputs[name] for name in names if name}
    graph = helper.make_graph(
        [node], operator,
        [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype),
                                       ("steps",) + value.shape[1:] if name == "X" else value.shape)
         for name, value in inputs.items()],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    if operator == "LSTM" and "clip" in attributes:
        for steps in range(1, STEPS + 1):
            cells = session.run(["Y_c"], {**inputs, "X": inputs["X"][:steps]})[0]
            if abs(cells).max() > attributes["clip"]:
                return make(operator, present, attributes, random)
    values = dict(zip(outputs, session.run(None, inputs)))
    if attributes.get("layout"):
        inputs = {name: value.swapaxes(0, 1) if name in ("X", "initial_h", "initial_c") else value
                  for name, value in inputs.items()}
        # [T, directions, B, H] to [B, T, directions, H], and [directions, B, H] to [B, directions, H].
        values = {name: value.transpose(2, 0, 1, 3) if name == "Y" else value.swapaxes(0, 1)
                  for name, value in values.items()}
    return names, inputs, outputs, values


def main():
    folder = os.path.join(sys.argv[1], "onnx")
    os.makedirs(folder, exist_ok=True)
    for seed, (name, (operator, present, attributes)) in enumerate(CASES.items()):
        names, inputs, outputs, values = make(operator, present, attributes, np.random.default_rng(seed))
        metadata = {
            "operator": operator, "opset": str(OPSET), "rtol": "1e-05", "atol": "1e-06",
            "attributes": json.dumps({"hidden_size": UNITS, **attributes}), "inputs": json.dumps(names),
            "outputs": json.dumps(outputs)}
        tensors = {}
        for kind, order, arrays in (("input", names, inputs), ("output", outputs, values)):
            for position, tensor_name in enumerate(order):
                if tensor_name:
                    tensors[f"{kind}.{position}"] = arrays[tensor_name]
                    metadata[f"shape:{kind}.{position}"] = json.dumps(arrays[tensor_name].shape)
        save(os.path.join(folder, name + ".safetensors"), tensors, metadata)


if len(sys.argv) != 2:
    sys.exit(__doc__)
main()
