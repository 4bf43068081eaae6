#!/usr/bin/env python3
"""Functions of TensorFlow in models of Keras 2, with live tf_keras: every line of tf_functions.txt is built, compiled and compared.
Needs tf_keras and tensorflow (exit 77 without). Words after the compiler: only lines that hold one of them."""
import sys
from pathlib import Path

import numpy as np

from program import Checks, compile_model, folder, modules, run

tf, k = modules("tensorflow", "tf_keras")
TFCC, ONLY = sys.argv[1], sys.argv[2:]
TOGETHER = 14  # functions in one model
check = Checks()
K = k.backend
r = np.random.default_rng(0)
DATA = {"m": r.random((4, 6, 6, 3)).astype("float32"), "s": r.standard_normal((4, 5, 4)).astype("float32"),
        "v": r.standard_normal((4, 6)).astype("float32"), "p": (r.random((4, 6)) + 0.2).astype("float32"),
        "w": r.standard_normal((4, 6)).astype("float32"), "q": r.standard_normal((4, 4, 4)).astype("float32"),
        "i": r.integers(0, 5, (4, 3)).astype("int32"), "j": r.integers(0, 4, (4,)).astype("int32")}


def c(*shape):
    """A constant of the model."""
    return tf.constant(np.random.default_rng(7).standard_normal(shape).astype("float32") * 0.3)


def make(lines):
    """A model with an output for every tensor that the lines make, and how many each makes."""
    K.clear_session()
    inputs = {n: k.Input(a.shape[1:], name=n, dtype=a.dtype.name) for n, a in DATA.items()}
    made = [tf.nest.flatten(eval(line, globals(), dict(inputs))) for line in lines]
    flat = [k.layers.Activation("linear", name=f"o{n}")(tf.cast(t, "float32")) for n, t in enumerate(t for ts in made for t in ts)]
    return k.Model(list(inputs.values()), flat), [len(ts) for ts in made]


def compare(work, lines):
    model, counts = make(lines)
    (work / "m.json").write_text(model.to_json())
    program = compile_model(TFCC, work / "m.json", work / "program", "-O1")
    many = len(model.inputs) > 1
    np.savez(work / "d.npz", **{f"x.{n}" if many else "x": DATA[n] for n in model.input_names})
    run(program, "predict", "--data", work / "d.npz", "--output", work / "p.npz", "--threads", 1)
    got, want = np.load(work / "p.npz"), model([tf.constant(DATA[n]) for n in model.input_names])
    want = want if isinstance(want, list) else [want]
    at = 0
    for line, count in zip(lines, counts):
        for name, b in zip(model.output_names[at:at + count], want[at:at + count]):
            a, b = got["y" if len(want) == 1 else f"y.{name}"], np.asarray(b)
            check(a.shape == b.shape and np.allclose(a, b, rtol=2e-4, atol=2e-5, equal_nan=True), f"{line}: {a.shape} {b.shape} {a.ravel()[:4]} {b.ravel()[:4]}")
        at += count


lines = (Path(__file__).parent / "tf_functions.txt").read_text().splitlines()
lines = [line for line in lines if not ONLY or any(word in line for word in ONLY)]
with folder() as work:
    for first in range(0, len(lines), TOGETHER):
        compare(Path(work), lines[first:first + TOGETHER])
check.report()
