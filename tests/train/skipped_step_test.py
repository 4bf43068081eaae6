#!/usr/bin/env python3
"""The first training step that a dynamic loss scale skips is reported with the value that was first not finite: in the data, in a weight,
forwards or backwards. Finding it changes nothing of the training: random generators, statistics and weights go on as without it."""
import json
import re
import sys
from pathlib import Path

import h5py
import numpy as np

from program import Checks, compile_model, folder, read_json, run

check = Checks()
tfcc = sys.argv[1]
ROWS, COLUMNS, UNITS = 24, 5, 4
BEFORE = r"\w+: note: step (\d+) is skipped and the loss scale halved to (\S+): the first value that is not finite, (\S+), arose in "


def layer(name, cls, config, source, policy="mixed_float16"):
    tensor = {"class_name": "__keras_tensor__", "config": {"shape": [None, COLUMNS], "dtype": "float32", "keras_history": [source, 0, 0]}}
    dtype = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": policy}, "registered_name": None}
    return {"module": "keras.layers", "class_name": cls, "config": {"name": name, **({"dtype": dtype} if source else {}), **config},
            "registered_name": None, "name": name, "inbound_nodes": [{"args": [tensor], "kwargs": {}}] if source else []}


def write_model(path, middle):
    layers = [layer("x", "InputLayer", {"batch_shape": [None, COLUMNS], "dtype": "float32"}, None), *middle,
              layer("last", "Dense", {"units": 1}, middle[-1]["name"])]
    config = {"name": "m", "trainable": True, "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [["last", 0, 0]]}
    path.write_text(json.dumps({"module": "keras", "class_name": "Functional", "config": config, "registered_name": "Functional"}))


def write_config(path, scale, rate=0.01):
    sgd = {"class_name": "SGD", "config": {"learning_rate": rate}}
    optimizer = {"class_name": "LossScaleOptimizer", "config": {"inner_optimizer": sgd, "initial_scale": scale}} if scale else sgd
    path.write_text(json.dumps({"optimizer": optimizer, "loss": "mse"}))


def fit(work, program, data, *options):
    p = run(program, "fit", "--data", data, "--batch-size", 8, "--no-shuffle", "--seed", 3, "--verbose", 0, "--history", work / "h.json",
            "--save", work / "s.weights.h5", *options)
    return p.stderr, np.array(read_json(work / "h.json")["batch_loss"])


def build(work, middle, scale, rate=0.01, options=()):
    write_model(work / "m.json", middle)
    write_config(work / "c.json", scale, rate)
    return compile_model(tfcc, work / "m.json", work / "m", "--compile-config", work / "c.json", *options)


def expect(what, note, pattern, step=1):
    found = re.match(BEFORE + pattern + "$", note.strip())
    check(found and int(found[1]) == step and note.count("\n") == 1, f"{what}: {note}")


def places(work):
    r = np.random.default_rng(1)
    x, y = r.normal(size=(ROWS, COLUMNS)).astype("float32"), r.normal(size=(ROWS, 1)).astype("float32")
    np.savez(work / "d.npz", x=x, y=y)
    hidden = [layer("hidden", "Dense", {"units": UNITS, "activation": "tanh"}, "x")]
    program = build(work, hidden, 2.0 ** 15)
    note, _ = fit(work, program, work / "d.npz")
    check(note == "", f"nothing is skipped: {note}")
    bad = x.copy()
    bad[10, 3] = np.nan
    np.savez(work / "bad.npz", x=bad, y=y)
    note, losses = fit(work, program, work / "bad.npz")
    expect("data", note, r"data of x, float32\[8,5\] at \[2,3\]", step=2)
    check(np.isnan(losses).tolist() == [False, True, False], f"the data's step alone is skipped: {losses}")
    with h5py.File(work / "s.weights.h5", "a") as f:
        f["layers/dense_1/vars/1"][0] = np.inf
    note, _ = fit(work, program, work / "d.npz", "--weights", work / "s.weights.h5")
    expect("a weight", note, r"weight last/bias, float32\[1\] at \[0\]")
    huge = {"units": UNITS, "kernel_initializer": {"module": "keras.initializers", "class_name": "Constant", "config": {"value": 3e4}}}
    ones = {**huge, "kernel_initializer": {"module": "keras.initializers", "class_name": "Constant", "config": {"value": 1.0}}}
    np.savez(work / "ones.npz", x=np.ones_like(x), y=y)
    program = build(work, [layer("first", "Dense", ones, "x"), layer("second", "Dense", huge, "first")], 2.0 ** 15)
    for threads in (1, 3):
        note, _ = fit(work, program, work / "ones.npz", "--threads", threads)
        expect("forwards", note, r'\w+ in Dense "second", float16\[8,4\] at \[0,0\]')
    program = build(work, hidden, 2.0 ** 40)
    note, _ = fit(work, program, work / "d.npz")
    expect("backwards", note, r'\w+ in the gradient of (Dense "\w+"|training), float16\[.*\] at \[.*\]')
    grows = {"units": 3, "activation": "linear", "recurrent_initializer": {**huge["kernel_initializer"], "config": {"value": 300.0}}}
    loop = [layer("wide", "Reshape", {"target_shape": [COLUMNS, 1]}, "x"), layer("loop", "SimpleRNN", grows, "wide")]
    note, _ = fit(work, build(work, loop, 2.0 ** 15), work / "ones.npz")
    expect("a loop", note, r'\w+ in SimpleRNN "loop", float16\[8,3\] at \[0,\d\]')


def nothing_changes(work):
    """Skipped steps give what steps with a learning rate of 0 give."""
    middle = [layer("hidden", "Dense", {"units": 16}, "x"), layer("norm", "BatchNormalization", {}, "hidden"), layer("drop", "Dropout", {"rate": 0.5}, "norm")]
    write_model(work / "m.json", middle)
    write_config(work / "c.json", 2.0 ** 20)
    with_skips = compile_model(tfcc, work / "m.json", work / "skips", "--compile-config", work / "c.json")
    note, losses = fit(work, with_skips, work / "d.npz", "--epochs", 4)
    expect("dropout", note, r'\w+ in the gradient of .*, float16\[.*\] at \[.*\]')
    with h5py.File(work / "s.weights.h5") as f:
        want = {name: f[name][()] for name in ("layers/dense/vars/0", "layers/dense_1/vars/0", "layers/batch_normalization/vars/2")}
        done = int(f["optimizer/inner_optimizer/vars/0"][()])
    skipped = len(losses) - done
    check(1 < skipped < 8, f"{skipped} steps are skipped of {len(losses)}")
    rate = {"module": "keras.optimizers.schedules", "class_name": "PiecewiseConstantDecay", "config": {"boundaries": [skipped - 1], "values": [0.0, 0.01]}}
    write_config(work / "c.json", None, rate)
    without = compile_model(tfcc, work / "m.json", work / "without", "--compile-config", work / "c.json")
    _, other = fit(work, without, work / "d.npz", "--epochs", 4)
    check(np.abs(losses - other).max() < 2e-3 * np.abs(losses).max(), f"the losses: {losses} {other}")
    with h5py.File(work / "s.weights.h5") as f:
        for name, value in want.items():
            check(np.abs(value - f[name][()]).max() < 2e-3, f"{name}: {value} {f[name][()]}")


with folder() as name:
    places(Path(name))
    nothing_changes(Path(name))
check.report()
