"""Runs a model of bench/models.py with PyTorch: `torch_peer.py NAME BATCH train|infer`; BENCH_COMPILE=1 uses torch.compile. Talks as
keras_peer.py does. Images are in PyTorch's channels_last memory format, which is its faster one on CPUs."""
import os
import sys

import torch

from protocol import serve
from torch_models import MODELS

name, batch, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(int(os.environ["BENCH_THREADS"]))
torch.manual_seed(0)
m, x_shape, words, y_shape, classes = MODELS[name]()
x = torch.randint(0, words, (batch, *x_shape)) if words else torch.randn(batch, *x_shape)
y = torch.randint(0, classes, (batch, *y_shape))
if x.dim() == 4:
    m, x = m.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
optimizer = torch.optim.Adam(m.parameters(), 1e-3, fused=True)
m.train(mode == "train")
if os.environ.get("BENCH_COMPILE") == "1":
    m = torch.compile(m)


def train():
    optimizer.zero_grad(set_to_none=True)
    out = m(x)
    if y_shape and name != "unet":
        out = out.reshape(-1, classes)
    loss = torch.nn.functional.cross_entropy(out, y if name == "unet" else y.reshape(-1))
    loss.backward()
    optimizer.step()
    loss.item()


@torch.no_grad()
def infer():
    m(x)


serve(train if mode == "train" else infer)
