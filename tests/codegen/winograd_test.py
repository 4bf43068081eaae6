#!/usr/bin/env python3
"""Convolutions with fewer products (--winograd): which are chosen, that their error against a convolution in float64 is within
the bounds that docs/design.md states, that every family of processors has it, and that neither predictions nor trained
weights depend on the number of threads."""
import json
import sys
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "train"))
from program import Checks, compile_model, folder, run

check = Checks()
tfcc = sys.argv[1]
rng = np.random.default_rng(5)
BOUND = {"off": 2e-6, "2x2": 1e-6, "auto": 4e-6}  # of the largest result, for 96 channels
SIZE, CHANNELS, RESULTS = (17, 14), 96, 70
flags = set(Path("/proc/cpuinfo").read_text().split("flags", 1)[1].splitlines()[0].split())


def layer(kind, name, **config):
    return {"module": "keras.layers", "class_name": kind, "config": {"name": name, **config}, "registered_name": None}


def convolution(name, filters, size=3):
    return layer("Conv2D", name, filters=filters, kernel_size=[size, size], strides=[1, 1], padding="same", activation="linear")


def write_model(path):
    layers = [layer("InputLayer", "x", batch_shape=[None, *SIZE, CHANNELS], dtype="float32"), convolution("first", RESULTS)]
    path.write_text(json.dumps({"module": "keras", "class_name": "Sequential", "registered_name": None,
                                "config": {"name": "net", "layers": layers}}))


def write_weights(path, kernel, bias):
    with h5py.File(path, "w") as f:
        for i, v in enumerate((kernel, bias)):
            f.create_dataset(f"layers/conv2d/vars/{i}", data=v)


def convolve(x, kernel, bias):
    """In float64."""
    padded = np.pad(x.astype("float64"), ((0, 0), (1, 1), (1, 1), (0, 0)))
    h, w = x.shape[1:3]
    return bias + sum(padded[:, r:r + h, s:s + w] @ kernel[r, s].astype("float64") for r in range(3) for s in range(3))


def predict(work, program, threads=2):
    run(program, "predict", "--data", work / "x.npz", "--weights", work / "w.weights.h5", "--output", work / "p.npz",
        "--threads", threads)
    return np.load(work / "p.npz")["y"]


with folder() as work:
    work = Path(work)
    model, options = work / "net.json", ("--optimizer", "sgd", "--loss", "mean_squared_error")
    write_model(model)
    x = rng.uniform(-1, 1, (9, *SIZE, CHANNELS)).astype("float32")
    kernel = rng.uniform(-1, 1, (3, 3, CHANNELS, RESULTS)).astype("float32")
    bias = rng.uniform(-1, 1, RESULTS).astype("float32")
    want = convolve(x, kernel, bias)
    np.savez(work / "x.npz", x=x)
    np.savez(work / "xy.npz", x=x, y=want.astype("float32"))
    write_weights(work / "w.weights.h5", kernel, bias)

    for when, count, tile in (("off", 0, 0), ("2x2", 4, 2), ("auto", 4, 4), ("on", 4, 4)):
        text = run(tfcc, "compile", model, "-o", work / "o", "--emit", "ir", *options, "--winograd", when, "--explain", "winograd")
        check(text.stdout.count(f"Winograd F({tile}x{tile}, 3x3)") == count, f"--winograd {when}: {text.stdout}")
        check((work / "o").read_text().count(f"winograd={tile}") == count, f"--winograd {when}: the plan does not show {count}")
    bad = run(tfcc, "compile", model, "-o", work / "o", "--winograd", "often", ok=False)
    check(bad.returncode == 1 and 'expected auto, 2x2, on or off, found "often"' in bad.stderr, f"a bad word: {bad.stderr}")

    error = {}
    for when, bound in BOUND.items():
        got = predict(work, compile_model(tfcc, model, work / when, "--winograd", when, *options))
        error[when] = np.abs(got - want).max() / np.abs(want).max()
        check(error[when] < bound, f"--winograd {when}: error {error[when]} is not below {bound}")
    print("largest error over the largest result:", *(f"{when} {e:.2e}" for when, e in error.items()))
    check(error["2x2"] < error["off"], f"error {error['2x2']} of the smallest tiles is not below that of direct sums, {error['off']}")
    check(error["auto"] < 4 * error["off"], f"error {error['auto']} is above four times that of direct sums, {error['off']}")

    for cpu, needs in (("x86-64", set()), ("x86-64-v3", {"avx2", "fma"}), ("x86-64-v4", {"avx512f", "avx512vl"})):
        for when in ("2x2", "auto") if needs <= flags else ():
            got = predict(work, compile_model(tfcc, model, work / cpu, "--winograd", when, "--mcpu", cpu))
            check(np.abs(got - want).max() < 2 * BOUND[when] * np.abs(want).max(), f"{cpu}, {when}: {np.abs(got - want).max()}")

    seen = []
    for threads in (1, 2, 5):
        p = predict(work, work / "auto", threads).tobytes()
        run(work / "auto", "fit", "--data", work / "xy.npz", "--batch-size", 4, "--epochs", 2, "--seed", 3, "--threads", threads,
            "--history", work / "h.json", "--save", work / "after.weights.h5", "--verbose", 0)
        with h5py.File(work / "after.weights.h5") as f:
            seen.append((p, (work / "h.json").read_bytes(), np.asarray(f["layers/conv2d/vars/0"]).tobytes()))
    check(all(s == seen[0] for s in seen), "results depend on the number of threads")
check.report()
