"""Times single operations of PyTorch for kernels.py: a JSON line [[kind, sizes...], seconds] in, {pass: seconds of a call} out."""
import json
import os
import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(int(os.environ["BENCH_THREADS"]))


def product(m, k, n):
    x, w, g = torch.randn(m, k), torch.randn(n, k), torch.randn(m, n)  # as torch.nn.Linear keeps its weights
    return {"forward": lambda: F.linear(x, w), "input gradient": lambda: g @ w, "weight gradient": lambda: g.t() @ x}


def convolution(images, size, channels, filters, kernel, strides, groups):
    layout = dict(memory_format=torch.channels_last)
    x = torch.randn(images, channels, size, size).to(**layout)
    w = torch.randn(filters, channels // groups, kernel, kernel).to(**layout)
    pads = [kernel // 2] * 2
    call = dict(stride=strides, padding=pads, groups=groups)
    g = torch.randn_like(F.conv2d(x, w, **call)).to(**layout)

    def backward(mask):
        return lambda: torch.ops.aten.convolution_backward(g, x, w, None, [strides] * 2, pads, [1, 1], False, [0, 0], groups, mask)

    return {"forward": lambda: F.conv2d(x, w, **call), "input gradient": backward([True, False, False]), "weight gradient": backward([False, True, False])}


def least(call, seconds):
    call()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


with torch.no_grad():
    for line in sys.stdin:
        (kind, *sizes), seconds = json.loads(line)
        calls = {"product": product, "convolution": convolution}[kind](*sizes)
        print(json.dumps({name: least(call, seconds / 3) for name, call in calls.items()}), flush=True)
