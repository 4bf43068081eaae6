#!/usr/bin/env python3
"""Single kernels beside the machine's limits and PyTorch: products, convolutions, and kernels that memory bounds.

    python3 bench/kernels.py [--only GLOB] [--threads T] [--rounds N] [--seconds S] [--isa native|avx2] [--tfcc PATH] [--json OUT]

Every row is a model of one layer, trained and run; its kernels are timed by the program itself (`bench --profile-kernels`). The
limits are measured in the same run (machine.c). What binds a product or convolution is the one of them that takes longer: its multiply-adds
at the peak, or its operands read once and its result written once at the triad's rate; arrays of a few MB stay in the caches from
call to call, so that shares of memory may be above 1. PyTorch runs the same operation with its operands as they lie, in turn with
tfcc; both figures are the best of all rounds.
"""
import argparse
import fnmatch
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))
from compare import ISAS, environment, read_profile

# rows, inputs, outputs of a Dense layer: cubes, then what occurs in models.py
PRODUCTS = [(512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (128, 784, 512), (128, 512, 512), (128, 512, 10), (1, 784, 512),
            (64, 128, 512), (2048, 256, 256), (2048, 256, 1024), (2048, 1024, 256), (2048, 256, 8192), (16, 2048, 1000)]
# image, channels, filters, kernel, strides of a Conv2D layer on 16 images: those of ResNet50
CONVOLUTIONS = [(56, 64, 64, 3, 1), (28, 128, 128, 3, 1), (14, 256, 256, 3, 1), (7, 512, 512, 3, 1), (56, 64, 256, 1, 1), (56, 256, 64, 1, 1),
                (28, 512, 128, 1, 1), (14, 256, 1024, 1, 1), (7, 2048, 512, 1, 1), (56, 256, 512, 1, 2), (224, 3, 64, 7, 2)]
# image, channels, strides of a DepthwiseConv2D layer 3x3: those of MobileNetV2
DEPTHWISE = [(112, 32, 1), (112, 96, 2), (56, 144, 1), (28, 192, 1), (14, 576, 1), (7, 960, 1)]
IMAGES = 16
MEMORY = {  # name: input shape, rows, layer of keras.layers and its configuration
    "batch normalization": ((56, 56, 256), 16, "BatchNormalization", {}), "layer normalization": ((128, 1024), 64, "LayerNormalization", {}),
    "softmax": ((128, 8192), 16, "Softmax", {}), "max pooling": ((112, 112, 64), 16, "MaxPooling2D", {}),
    "optimizer (Adam)": ((4096,), 1, "Dense", {"units": 4096, "use_bias": False}),
}


def cases():
    for m, k, n in PRODUCTS:
        yield f"product {m}x{k}x{n}", dict(kind="product", rows=m, shape=(k,), layer=("Dense", dict(units=n, use_bias=False)), results={
            "forward": f"dot f32[N,{n}]", "input gradient": f"dot f32[N,{k}]", "weight gradient": f"dot f32[{k},{n}]"},
            flops=2 * m * k * n, bytes=4 * (m * k + k * n + m * n), torch=("product", m, k, n))
    for size, c, f, k, s in CONVOLUTIONS:
        out = -(-size // s)
        yield f"convolution {size}x{size}x{c}, {k}x{k}x{f} by {s}", dict(
            kind="convolution", rows=IMAGES, shape=(size, size, c), layer=("Conv2D", dict(filters=f, kernel_size=k, strides=s, padding="same", use_bias=False)),
            results={"forward": rf"f32[N,{out},{out},{f}]", "input gradient": f"f32[N,{size},{size},{c}]", "weight gradient": f",{c},{f}]"},
            flops=2 * IMAGES * out * out * f * c * k * k, bytes=4 * (IMAGES * size * size * c + k * k * c * f + IMAGES * out * out * f), torch=("convolution", IMAGES, size, c, f, k, s, 1))
    for size, c, s in DEPTHWISE:
        out = -(-size // s)
        yield f"depthwise {size}x{size}x{c}, 3x3 by {s}", dict(
            kind="depthwise", rows=IMAGES, shape=(size, size, c), layer=("DepthwiseConv2D", dict(kernel_size=3, strides=s, padding="same", use_bias=False)),
            results={"forward": f"f32[N,{out},{out},{c}]", "input gradient": f"f32[N,{size},{size},{c}]", "weight gradient": f",1,{c}]"},
            flops=2 * IMAGES * out * out * c * 9, bytes=4 * (IMAGES * (size * size + out * out) * c + 9 * c), torch=("convolution", IMAGES, size, c, c, 3, s, c))
    for name, (shape, rows, layer, config) in MEMORY.items():
        yield name, dict(kind="memory", rows=rows, shape=shape, layer=(layer, config))


def write_models(chosen, folder):
    """In the peers' Python: one layer behind a trained one without arithmetic to speak of, so that it has an input gradient. Those
    that PyTorch runs read and write nothing else than its operations do: the layer before needs the sum of the input gradient alone,
    and the gradient that comes back is an array, of a layer with one result."""
    program = """
import json, sys, keras
L = keras.layers
for i, (shape, name, config, peer) in enumerate(json.load(open(sys.argv[1]))):
    x = keras.Input(shape)
    before = L.BatchNormalization(scale=False) if peer else L.PReLU(shared_axes=list(range(1, len(shape))) or None)
    y = getattr(L, name)(name="it", **config)(before(x))
    if peer:
        y = (L.Conv2D(1, 1) if len(shape) > 1 else L.Dense(1))(y)
    m = keras.Model(x, y)
    m.compile(keras.optimizers.Adam(1e-6), "mean_absolute_error")
    open(f"{sys.argv[2]}/{i}.json", "w").write(m.to_json())
"""
    (folder / "cases.json").write_text(json.dumps([[c["shape"], *c["layer"], "torch" in c] for _, c in chosen]))
    subprocess.run([environment(), "-c", program, folder / "cases.json", folder], check=True, stderr=subprocess.DEVNULL, env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3"))


def on_cores(a, command):
    return ["taskset", "-c", f"0-{a.threads - 1}", *map(str, command)] if a.threads < os.cpu_count() else list(map(str, command))


def profile(a, program, rows, mode):
    command = [program, "bench", "--mode", mode, "--batch-size", rows, "--seconds", a.seconds, "--threads", a.threads, "--profile-kernels"]
    return read_profile(subprocess.run(on_cores(a, command), check=True, capture_output=True, text=True).stdout)


class Torch:
    """A process that times PyTorch's operations."""

    def __init__(self, a):
        env = dict(os.environ, OMP_NUM_THREADS=str(a.threads), BENCH_THREADS=str(a.threads), **ISAS[a.isa][2])
        self.process = subprocess.Popen(on_cores(a, [environment(), ROOT / "bench/peers/torch_kernels.py"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, env=env, text=True)

    def seconds(self, what, least):
        """{pass: seconds} of one operation."""
        self.process.stdin.write(json.dumps([what, least]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def best_seconds(lines, result):
    """Of the kernels with this result, the slowest: where shapes do not tell two passes apart, the worse one counts."""
    found = [us for name, us, _, _ in lines if '"it": ' in name and (": dot " in name or ": convolution " in name) and name.endswith(result)]
    return max(found) * 1e-6 if found else None


def arithmetic(a, program, case, torch):
    """{pass: (tfcc's seconds, PyTorch's)}"""
    ours, theirs = {}, {}
    for _ in range(a.rounds):
        infer, train = profile(a, program, case["rows"], "infer"), profile(a, program, case["rows"], "train")
        for name, result in case["results"].items():
            s = best_seconds(infer if name == "forward" else train, result)
            if s:
                ours[name] = min(s, ours.get(name, s))
        for name, s in torch.seconds(case["torch"], a.seconds).items():
            theirs[name] = min(s, theirs.get(name, s))
    return {name: (ours[name], theirs[name]) for name in case["results"] if name in ours}


def memory_bound(a, program, case):
    """{kernel: (GB/s, share of the step)} of those that take at least a tenth of the step and do little arithmetic."""
    best = {}
    for _ in range(a.rounds):
        lines = profile(a, program, case["rows"], "train")
        step = sum(us for _, us, _, _ in lines)
        for name, us, flops, rate in lines:
            if us > step / 10 and flops < 4 * rate:
                best[name] = max((rate, us / step), best.get(name, (0, 0)))
    return best


def limits(a, folder):
    subprocess.run(["cc", "-O3", *ISAS[a.isa][1], "-ffp-contract=fast", "-std=c17", ROOT / "bench/machine.c", "-o", folder / "machine", "-lpthread"], check=True)
    return json.loads(subprocess.run(on_cores(a, [folder / "machine", a.threads]), check=True, capture_output=True, text=True).stdout)[str(a.threads)]


def binding(case, machine):
    """The limit that binds all passes of an operation, which read and write the same arrays, and the seconds that it leaves."""
    seconds = {"arithmetic": case["flops"] / machine["gflops"] * 1e-9, "memory": case["bytes"] / machine["gbs"] * 1e-9}
    bound = max(seconds, key=seconds.get)
    return bound, seconds[bound]


def measure(a, name, case, program, machine, torch):
    if case["kind"] == "memory":
        return [dict(case=name, kind="memory", kernel=k, gbs=rate, bound="memory", of_limit=rate / machine["gbs"], of_step=share)
                for k, (rate, share) in memory_bound(a, program, case).items()]
    bound, least = binding(case, machine)
    return [dict(case=name, kind=case["kind"], kernel=k, gflops=case["flops"] / ours * 1e-9, bound=bound, of_limit=least / ours, of_torch=theirs / ours)
            for k, (ours, theirs) in arithmetic(a, program, case, torch).items()]


def show(row):
    if row["kind"] == "memory":
        print(f"{row['case']:<44} {row['gbs']:>7.1f} GB/s    {row['of_limit']:>5.2f}         {row['kernel']}", flush=True)
    else:
        print(f"{row['case']:<44} {row['gflops']:>7.1f} GFLOP/s {row['of_limit']:>5.2f} {row['of_torch']:>7.2f} {row['kernel']} ({row['bound']})", flush=True)


def run(a):
    folder = ROOT / "build/bench-kernels"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [(name, case) for name, case in cases() if fnmatch.fnmatch(name, a.only)]
    write_models(chosen, folder)
    machine, torch, rows = limits(a, folder), Torch(a), []
    print(f"{a.threads} threads; at most {machine['gflops']:.0f} GFLOP/s and {machine['gbs']:.1f} GB/s here\n"
          f"{'':<44} {'':>15} {'limit':>5} {'PyTorch':>7}  (tfcc's rate as a share of the limit's and of PyTorch's)")
    for i, (name, case) in enumerate(chosen):
        program = folder / str(i)
        subprocess.run([a.tfcc, "compile", folder / f"{i}.json", "-o", program, *ISAS[a.isa][0]], check=True)
        for row in measure(a, name, case, program, machine, torch):
            rows.append(row)
            show(row)
    return dict(threads=a.threads, machine=machine, rows=rows)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", default="*")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=0.5)
    p.add_argument("--isa", default="native", choices=ISAS)
    p.add_argument("--tfcc", default=ROOT / "build/release/bin/tfcc")
    p.add_argument("--json", type=Path)
    a = p.parse_args()
    found = run(a)
    if a.json:
        a.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
