"""Times the models of TrainingBenchmarks in PyTorch, to be run in turn with it on the same machine.

usage: pytorch-training.py [THREADS]       prints a line per model: median of at least 5 steps and 4 seconds
"""
import sys
import time

import torch
from torch import nn
from torch.nn import functional

VOCABULARY, WIDTH, BATCH, LENGTH = 4096, 256, 16, 128
torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)


class Predictor(nn.Module):
    """A body between an embedding and an output layer."""

    def __init__(self, body):
        super().__init__()
        self.embedding, self.body, self.output = nn.Embedding(VOCABULARY, WIDTH), body, nn.Linear(WIDTH, VOCABULARY)

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


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.positions = nn.Embedding(1024, WIDTH)
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm1": nn.LayerNorm(WIDTH), "qkv": nn.Linear(WIDTH, 3 * WIDTH), "out": nn.Linear(WIDTH, WIDTH),
                    "norm2": nn.LayerNorm(WIDTH), "up": nn.Linear(WIDTH, 4 * WIDTH), "down": nn.Linear(4 * WIDTH, WIDTH),
                }
            )
            for _ in range(4)
        )
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x):
        batch, length, _ = x.shape
        x = x + self.positions(torch.arange(length))
        for layer in self.layers:
            heads = layer["qkv"](layer["norm1"](x)).view(batch, length, 3, 8, WIDTH // 8)
            q, k, v = heads.permute(2, 0, 3, 1, 4)
            attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + layer["out"](attended.transpose(1, 2).reshape(batch, length, WIDTH))
            x = x + layer["down"](functional.gelu(layer["up"](layer["norm2"](x))))
        return self.norm(x)


for name, body in {
    "RNN": lambda: Recurrent(nn.RNN), "LSTM": lambda: Recurrent(nn.LSTM), "GRU": lambda: Recurrent(nn.GRU),
    "CNN": Convolutional, "Transformer": Transformer,
}.items():
    torch.manual_seed(0)
    model = Predictor(body())
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    inputs, targets = (torch.randint(0, VOCABULARY, (BATCH, LENGTH)) for _ in range(2))

    def step():
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs).view(-1, VOCABULARY), targets.view(-1)).backward()
        optimizer.step()

    step(), step()
    times, begun = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - begun < 4:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    print(f"train {name} v{VOCABULARY} d{WIDTH} b{BATCH} t{LENGTH}: {1000 * sorted(times)[len(times) // 2]:.1f} ms")
