"""Times what one would use instead, at the work of `attend bench` and under the same names: a line of JSON each.

usage: peers.py SUBJECT... [--threads N] [--seconds S] [--shape B,H,G,T_q,T_k,D [--causal]] [--model FILE.gguf]
       [--embedder FOLDER]

Subjects: attention, backward, decode, gemm, measures, recurrent, train, model, embed. Needs numpy and, for each peer, its package:
torch, onnxruntime with onnx, openvino, llama-cpp-python, and for embed transformers and onnxscript. A peer that is not installed is said to be missing, and left out.
Times are medians. Compare them only with times from the same machine, taken in turn; Scripts/compare-with-peers does that.
"""

import argparse
import json
import os
import sys
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("subjects", nargs="*")
parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
parser.add_argument("--seconds", type=float, default=1.5)
parser.add_argument("--shape")
parser.add_argument("--causal", action="store_true")
parser.add_argument("--model", help="the GGUF file of SmolLM2-135M-Instruct Q4_1")
parser.add_argument("--embedder", help="the folder of all-MiniLM-L6-v2",
                    default=os.path.expanduser("~/.cache/swift-attention/models/all-MiniLM-L6-v2"))
options = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(options.threads)

import numpy as np  # noqa: E402  (after the number of threads is set)

# Batch, query heads, key-value heads, queries, keys, dimension, whether causal.
SHAPES = [
    (1, 12, 12, 128, 128, 64, False),
    (1, 12, 12, 512, 512, 64, False),
    (1, 12, 12, 512, 512, 64, True),
    (1, 12, 12, 2048, 2048, 64, False),
    (1, 12, 12, 2048, 2048, 64, True),
    (1, 9, 3, 1024, 1024, 64, True),
    (8, 12, 12, 128, 128, 64, False),
    (1, 8, 8, 2048, 2048, 128, True),
    (1, 1, 1, 8192, 8192, 64, False),
]
if options.shape:
    SHAPES = [(*map(int, options.shape.split(",")), options.causal)]


def median(run, seconds=None):
    """The median time of a run: after two that do not count, five at least."""
    run(), run()
    times, begun = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - begun < (seconds or options.seconds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def report(peer, work, seconds, **more):
    print(json.dumps({"peer": peer, "work": work, "seconds": seconds, **more}), flush=True)


def attention_name(kind, shape):
    batch, heads, groups, queries, keys, dimension, causal = shape
    name = f"attention {kind} b{batch} h{heads} g{groups} q{queries} k{keys} d{dimension}"
    return name + (" causal" if causal else "")


def torch():
    import torch

    torch.set_num_threads(options.threads)
    return torch


# Attention


def torch_attention():
    t = torch()
    with t.no_grad():
        for kind in (t.float32, t.bfloat16):
            for shape in SHAPES:
                batch, heads, groups, queries, keys, dimension, causal = shape
                q = t.randn(batch, heads, queries, dimension).to(kind)
                k, v = (t.randn(batch, groups, keys, dimension).to(kind) for _ in range(2))
                run = lambda: t.nn.functional.scaled_dot_product_attention(
                    q, k, v, is_causal=causal, enable_gqa=heads != groups
                )
                report("torch", attention_name(str(kind)[6:], shape), median(run))


def onnxruntime_session(model):
    import onnxruntime

    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = options.threads
    return onnxruntime.InferenceSession(model.SerializeToString(), session_options, providers=["CPUExecutionProvider"])


def onnxruntime_attention():
    from onnx import TensorProto, helper

    for shape in SHAPES:
        batch, heads, groups, queries, keys, dimension, causal = shape
        shapes = {
            "q": [batch, heads, queries, dimension],
            "k": [batch, groups, keys, dimension],
            "v": [batch, groups, keys, dimension],
        }
        graph = helper.make_graph(
            [helper.make_node("Attention", ["q", "k", "v"], ["y"], is_causal=int(causal))],
            "attention",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in "qkv"],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        )
        session = onnxruntime_session(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
        )
        feed = {name: np.random.randn(*shapes[name]).astype(np.float32) for name in "qkv"}
        report("onnxruntime", attention_name("float32", shape), median(lambda: session.run(None, feed)))


def openvino_attention():
    import openvino
    from openvino import opset13

    core = openvino.Core()
    for precision, kind in (("f32", "float32"), ("bf16", "bfloat16")):
        for shape in SHAPES:
            batch, heads, groups, queries, keys, dimension, causal = shape
            if heads != groups:
                continue
            sizes = ((heads, queries), (groups, keys), (groups, keys))
            parameters = [opset13.parameter([batch, h, n, dimension], np.float32) for h, n in sizes]
            attention = opset13.scaled_dot_product_attention(*parameters, causal=causal)
            settings = {
                "INFERENCE_NUM_THREADS": options.threads,
                "INFERENCE_PRECISION_HINT": precision,
                "PERFORMANCE_HINT": "LATENCY",
            }
            request = core.compile_model(
                openvino.Model([attention], parameters), "CPU", settings
            ).create_infer_request()
            feed = [np.random.randn(batch, h, n, dimension).astype(np.float32) for h, n in sizes]
            report("openvino", attention_name(kind, shape), median(lambda: request.infer(feed)))


def torch_backward():
    t = torch()
    for shape in SHAPES:
        batch, heads, groups, queries, keys, dimension, causal = shape
        if heads != groups or queries > 4096:
            continue
        q, k, v = (t.randn(batch, heads, queries, dimension, requires_grad=True) for _ in range(3))
        seed = t.randn(batch, heads, queries, dimension)
        run = lambda: t.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal).backward(seed)
        report("torch", attention_name("float32", shape) + " forward+backward", median(run))


def torch_measures():
    """Other measures, composed of operations as one writes them down."""
    t = torch()
    shape = (1, 12, 12, 512, 512, 64, False)
    dimension = shape[5]
    w, w_q, w_k = (t.randn(dimension, dimension) / 8 for _ in range(3))
    u, u_k = t.randn(dimension), t.randn(dimension)
    scores = {
        "dot": lambda q, k: q @ k.transpose(-1, -2),
        "general": lambda q, k: q @ w @ k.transpose(-1, -2),
        "additive": lambda q, k: t.tanh((q @ w_q)[..., :, None, :] + (k @ w_k)[..., None, :, :]) @ u,
        "linear-additive": lambda q, k: (q @ u)[..., :, None] + (k @ u_k)[..., None, :],
        "cosine": lambda q, k: t.nn.functional.normalize(q, dim=-1)
        @ t.nn.functional.normalize(k, dim=-1).transpose(-1, -2)
        * 10,
        "euclidean": lambda q, k: -t.cdist(q, k, compute_mode="donot_use_mm_for_euclid_dist").square() / 8,
        "gaussian": lambda q, k: -t.cdist(q, k, compute_mode="donot_use_mm_for_euclid_dist").square() / 16,
        "laplacian": lambda q, k: -t.cdist(q, k, p=1) / 8,
    }
    for name, score in scores.items():
        q, k, v = (t.randn(shape[0], shape[1], shape[3], dimension) for _ in range(3))
        attend = lambda: t.softmax(score(q, k), -1) @ v
        with t.no_grad():
            report("torch", f"{attention_name('float32', shape)} {name}", median(attend))
        seed = t.randn(shape[0], shape[1], shape[3], dimension)
        for operand in (q, k, v):
            operand.requires_grad_()
        report(
            "torch", f"{attention_name('float32', shape)} {name} forward+backward", median(lambda: attend().backward(seed))
        )


def torch_decode():
    t = torch()
    with t.no_grad():
        for kind in (t.float32, t.bfloat16, t.float16):
            for count in (512, 4096, 32768):
                q = t.randn(1, 9, 1, 64).to(kind)
                k, v = (t.randn(1, 3, count, 64).to(kind) for _ in range(2))
                run = lambda: t.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
                report("torch", f"decode {str(kind)[6:]} h9 g3 k{count} d64", median(run))


def torch_gemm():
    t = torch()
    with t.no_grad():
        for kind in (t.float32, t.bfloat16):
            for m, n, k in ((2048, 2048, 2048), (128, 1536, 384), (512, 1536, 576), (4096, 384, 384)):
                x, weight = t.randn(m, k).to(kind), t.randn(n, k).to(kind)
                run = lambda: t.nn.functional.linear(x, weight)
                report("torch", f"gemm {str(kind)[6:]} m{m} n{n} k{k}", median(run))


# Recurrent layers

RECURRENT = ((1, 512, 256), (32, 512, 256), (32, 100, 64), (32, 100, 512), (1, 1, 256))


def torch_recurrent():
    t = torch()
    with t.no_grad():
        for kind in ("RNN", "LSTM", "GRU"):
            for batch, length, width in RECURRENT:
                layer, x = getattr(t.nn, kind)(width, width, batch_first=True), t.randn(batch, length, width)
                report("torch", f"recurrent {kind} b{batch} t{length} h{width}", median(lambda: layer(x)))


def onnxruntime_recurrent():
    from onnx import TensorProto, helper, numpy_helper

    for kind, gates in (("RNN", 1), ("LSTM", 4), ("GRU", 3)):
        for batch, length, width in RECURRENT:
            shapes = (("W", (1, gates * width, width)), ("R", (1, gates * width, width)), ("B", (1, 2 * gates * width)))
            weights = [
                numpy_helper.from_array(np.random.randn(*shape).astype(np.float32) * 0.1, name)
                for name, shape in shapes
            ]
            more = {"linear_before_reset": 1} if kind == "GRU" else {}
            graph = helper.make_graph(
                [helper.make_node(kind, ["x", "W", "R", "B"], ["y"], hidden_size=width, **more)],
                "recurrent",
                [helper.make_tensor_value_info("x", TensorProto.FLOAT, [length, batch, width])],
                [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                weights,
            )
            session = onnxruntime_session(
                helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
            )
            x = np.random.randn(length, batch, width).astype(np.float32)
            name = f"recurrent {kind} b{batch} t{length} h{width}"
            report("onnxruntime", name, median(lambda: session.run(None, {"x": x})))


# Training

VOCABULARY, WIDTH, BATCH, LENGTH = 4096, 256, 16, 128


def torch_train():
    """Whole steps of a next-token model: forward, cross-entropy, backward, AdamW."""
    t = torch()
    nn, functional = t.nn, t.nn.functional

    class Predictor(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.embedding, self.body = nn.Embedding(VOCABULARY, WIDTH), body
            self.output = nn.Linear(WIDTH, VOCABULARY)

        def forward(self, tokens):
            return self.output(self.body(self.embedding(tokens)))

    class Recurrent(nn.Module):
        def __init__(self, kind):
            super().__init__()
            self.layers = kind(WIDTH, WIDTH, 2, batch_first=True)

        def forward(self, x):
            return self.layers(x)[0]

    class Convolutional(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 5) for _ in range(2))

        def forward(self, x):
            x = x.transpose(1, 2)
            for layer in self.layers:
                x = x + functional.relu(layer(functional.pad(x, (4, 0))))
            return x.transpose(1, 2)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.qkv, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.norm2, self.up = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH)
            self.down = nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x):
            batch, length, _ = x.shape
            heads = self.qkv(self.norm1(x)).view(batch, length, 3, 8, WIDTH // 8)
            q, k, v = heads.permute(2, 0, 3, 1, 4)
            attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(attended.transpose(1, 2).reshape(batch, length, WIDTH))
            return x + self.down(functional.gelu(self.up(self.norm2(x))))

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.positions = nn.Embedding(1024, WIDTH)
            self.blocks, self.norm = nn.Sequential(*[Block() for _ in range(4)]), nn.LayerNorm(WIDTH)

        def forward(self, x):
            return self.norm(self.blocks(x + self.positions(t.arange(x.shape[1]))))

    bodies = {
        "RNN": lambda: Recurrent(nn.RNN),
        "LSTM": lambda: Recurrent(nn.LSTM),
        "GRU": lambda: Recurrent(nn.GRU),
        "CNN": Convolutional,
        "Transformer": Transformer,
    }
    for name, body in bodies.items():
        t.manual_seed(0)
        model = Predictor(body())
        optimizer = t.optim.AdamW(model.parameters(), 1e-3)
        inputs, targets = (t.randint(0, VOCABULARY, (BATCH, LENGTH)) for _ in range(2))

        def step():
            optimizer.zero_grad()
            functional.cross_entropy(model(inputs).view(-1, VOCABULARY), targets.view(-1)).backward()
            optimizer.step()

        report("torch", f"train {name} v{VOCABULARY} d{WIDTH} b{BATCH} t{LENGTH}", median(step, max(4, options.seconds)))


# The language model


def llama_model():
    import random

    from llama_cpp import Llama

    if not options.model:
        sys.exit("peers.py: the subject 'model' needs --model FILE.gguf; Scripts/fetch-model says where it is.")
    for flash in (False, True):
        model = Llama(
            options.model, n_ctx=2048, n_threads=options.threads, n_threads_batch=options.threads, n_batch=512,
            verbose=False, flash_attn=flash,
        )
        peer = "llama.cpp flash" if flash else "llama.cpp"
        numbers = random.Random(0)
        for count in (128, 512, 1024):

            def read():
                model.reset()
                model.eval([numbers.randrange(1000, 40000) for _ in range(count)])

            report(peer, f"prefill SmolLM2-135M Q4_1 t{count}", median(read, max(3, options.seconds)))
        model.reset()
        model.eval(list(range(1000, 1008)))
        times = []
        for index in range(96):
            start = time.perf_counter()
            model.eval([2000 + index])
            times.append(time.perf_counter() - start)
        report(peer, "generate SmolLM2-135M Q4_1", sorted(times)[48])


def embedders():
    """all-MiniLM-L6-v2 up to the tokens' vectors; pooling is left out, which is counted here on the other side."""
    import tempfile

    t = torch()
    from transformers import AutoModel

    model = AutoModel.from_pretrained(options.embedder).eval()
    ids = {shape: t.randint(1000, 20000, shape) for shape in [(1, 16), (1, 128), (32, 128), (8, 512)]}

    def time_all(peer, kind, run):
        for (batch, length), tokens in ids.items():
            seconds = median(lambda: run(tokens))
            work = f"embed MiniLM {kind} b{batch} t{length}"
            report(peer, work, seconds, tokensPerSecond=batch * length / seconds)

    with t.no_grad():
        time_all("torch", "float32", lambda x: model(input_ids=x, attention_mask=t.ones_like(x)))
        brief = AutoModel.from_pretrained(options.embedder, dtype=t.bfloat16).eval()
        time_all("torch", "bfloat16", lambda x: brief(input_ids=x, attention_mask=t.ones_like(x)))

    class LastState(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask):
            return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    dimensions = {0: t.export.Dim("b"), 1: t.export.Dim("n")}
    sample = ids[(1, 16)]
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/minilm.onnx"
        t.onnx.export(
            LastState(), (sample, t.ones_like(sample)), path, input_names=["input_ids", "attention_mask"],
            output_names=["hidden"], dynamic_shapes={"input_ids": dimensions, "attention_mask": dimensions},
            dynamo=True, verbose=False)

        def feed(tokens):
            return {"input_ids": tokens.numpy(), "attention_mask": np.ones(tuple(tokens.shape), np.int64)}

        import onnxruntime

        choices = onnxruntime.SessionOptions()
        choices.intra_op_num_threads = options.threads
        session = onnxruntime.InferenceSession(path, choices, providers=["CPUExecutionProvider"])
        time_all("onnxruntime", "float32", lambda x: session.run(None, feed(x)))
        import openvino

        core = openvino.Core()
        for precision, kind in (("f32", "float32"), ("bf16", "bfloat16")):
            request = core.compile_model(core.read_model(path), "CPU", {
                "INFERENCE_NUM_THREADS": options.threads, "INFERENCE_PRECISION_HINT": precision,
                "PERFORMANCE_HINT": "LATENCY"}).create_infer_request()
            time_all("openvino", kind, lambda x: request.infer(feed(x)))


SUBJECTS = {
    "attention": [torch_attention, onnxruntime_attention, openvino_attention],
    "backward": [torch_backward],
    "measures": [torch_measures],
    "decode": [torch_decode],
    "gemm": [torch_gemm],
    "recurrent": [torch_recurrent, onnxruntime_recurrent],
    "train": [torch_train],
    "model": [llama_model],
    "embed": [embedders],
}
for subject in options.subjects:
    if subject not in SUBJECTS:
        sys.exit(f"peers.py: '{subject}' is none of {', '.join(SUBJECTS)}.")
    for measure in SUBJECTS[subject]:
        try:
            measure()
        except ImportError as error:
            print(f"peers.py: {measure.__name__} is left out: {error}", file=sys.stderr)
