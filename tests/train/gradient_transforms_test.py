#!/usr/bin/env python3
"""Gradient transforms: a linear model trained with each does what Optax's transform of that name did to it (recorded in
gradient_transforms.json), continues from a saved state, and is refused where its parts do not fit."""
import json
import re
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np

from program import Checks, folder, functional, layer, run

check = Checks()
tfcc = sys.argv[1]
CASES = json.loads((Path(__file__).parent / "gradient_transforms.json").read_text())
WEIGHTS = {"W": "layers/dense/vars/0", "b": "layers/dense/vars/1"}


def top(name, width=1):
    return layer(name, "InputLayer", {"batch_shape": [None, width], "dtype": "float32"})


def mix():
    """0.5 (gradient + variable), element by element."""
    half = {"module": "keras.initializers", "class_name": "Constant", "config": {"value": 0.5}}
    return functional([top("gradient"), top("variable"), layer("both", "Concatenate", {"axis": -1}, "gradient", "variable"),
                       layer("mix", "Dense", {"units": 1, "use_bias": False, "kernel_initializer": half}, "both")])


def dense(width, units):
    return functional([top("g", width), layer("d", "Dense", {"units": units}, "g")])


def write(work):
    model = {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [
        {"module": "keras.layers", "class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, 4]}},
        {"module": "keras.layers", "class_name": "Dense", "config": {"name": "d", "units": 3}}]}}
    files = {"model": model, "mix": mix(), "narrow": dense(3, 2), "wide": dense(7, 7),
             "sgd": {"optimizer": {"class_name": "SGD", "config": {"learning_rate": 0.05}}, "loss": "mse"}}
    files["three"] = functional([*map(top, "abc"), layer("add", "Add", {}, *"abc")])
    files["twice"] = functional([top("g"), layer("r", "ReLU", {}, "g")], "g", "r")
    for name, content in files.items():
        (work / f"{name}.json").write_text(json.dumps(content))
    plain = functional([top("gradient"), top("variable"), layer("sum", "Average", {}, "gradient", "variable")])
    for name, config in (("average", plain), ("weights", mix())):
        with zipfile.ZipFile(work / f"{name}.keras", "w") as z:
            z.writestr("config.json", json.dumps(config))
            z.writestr("metadata.json", "{}")
    (work / "average.json").write_text(json.dumps(plain))
    (work / "damaged.keras").write_bytes(b"PK\3\4 and nothing more")
    np.savez(work / "data.npz", x=np.array(CASES["x"], "f4"), y=np.array(CASES["y"], "f4"))
    with h5py.File(work / "init.weights.h5", "w") as f:
        for name, path in WEIGHTS.items():
            f[path] = np.array(CASES[name], "f4")


def compile_with(work, specs, config="sgd.json", ok=True):
    argv = [tfcc, "compile", work / "model.json", "--compile-config", work / config, "-o", work / "program", "-O1", "--verify", "2"]
    for spec in specs:
        argv += ["--gradient-transform", spec]
    return run(*argv, ok=ok, cwd=work)


def fit(work, weights, saved, epochs, *more):
    run(work / "program", "fit", "--data", work / "data.npz", "--weights", work / weights, "--epochs", epochs, "--batch-size", 4,
        "--no-shuffle", "--verbose", 0, "--save", work / saved, *more)
    with h5py.File(work / saved) as f:
        state = sorted(f.get("gradient_transforms/vars", {}), key=int)
        return {k: f[p][:] for k, p in WEIGHTS.items()}, [f[f"gradient_transforms/vars/{n}"][()] for n in state]


def same(a, b):
    return all(np.array_equal(a[k], b[k]) for k in WEIGHTS)


def against_optax(work):
    for specs, want in CASES["cases"].items():
        compile_with(work, specs.split(" | "))
        got, state = fit(work, "init.weights.h5", "out.weights.h5", 2)
        for name in WEIGHTS:
            w = np.array(want[name]).reshape(got[name].shape)
            gap = np.abs(got[name] - w).max()
            check(gap <= 2e-5 * max(1, np.abs(w).max()), f"{specs}: {name} differs from Optax's by {gap:.2g}")
        if state:
            fit(work, "init.weights.h5", "half.weights.h5", 1)
            check(same(fit(work, "half.weights.h5", "rest.weights.h5", 1)[0], got), f"{specs}: the state is not gone on with")


def models(work):
    compile_with(work, ["model:mix.json"])
    by_model, state = fit(work, "init.weights.h5", "out.weights.h5", 2)
    check(len(state) == 1 and (state[0] == 0.5).all(), "the model's weights are not in the weights file")
    compile_with(work, ["add_decayed_weights:weight_decay=1", "scale:step_size=0.5"])
    by_name, _ = fit(work, "init.weights.h5", "out.weights.h5", 2)
    check(all(np.allclose(by_model[k], by_name[k], 1e-6, 1e-7) for k in WEIGHTS), "a model differs from the same transform by name")


def noise(work):
    runs = []
    for seed in (7, 7, 8):
        compile_with(work, [f"add_noise:eta=0.1,gamma=0.55,seed={seed}"])
        runs.append(fit(work, "init.weights.h5", "out.weights.h5", 1, "--threads", len(runs) + 1)[0])
    check(same(runs[0], runs[1]) and not same(runs[0], runs[2]), "noise is not a function of its seed")


def configurations(work):
    config = json.loads((work / "sgd.json").read_text())
    listed = dict(config, gradient_transform=["centralize", {"name": "trace", "decay": 0.9, "variables": ["d/k.*"]}],
                  gradient_aggregator="sum")
    (work / "listed.json").write_text(json.dumps(listed))
    compile_with(work, [], "listed.json")
    by_key, _ = fit(work, "init.weights.h5", "out.weights.h5", 2)
    compile_with(work, ["centralize", "trace:decay=0.9@d/k.*"])
    check(same(by_key, fit(work, "init.weights.h5", "out.weights.h5", 2)[0]), "the key and the options differ")
    for key in ("clipnorm", "clipvalue", "global_clipnorm"):
        clipped = dict(listed, optimizer={"class_name": "Adam", "config": {key: 1.0}})
        (work / "clipped.json").write_text(json.dumps(clipped))
        p = compile_with(work, [], "clipped.json", ok=False)
        check(p.returncode == 1 and re.search(rf"without {key} beside gradient transforms", p.stderr), f"{key}: {p.stderr[:200]}")
    waiting = dict(listed, optimizer={"class_name": "Adam", "config": {"gradient_accumulation_steps": 2}})
    (work / "waiting.json").write_text(json.dumps(waiting))
    compile_with(work, ["ema:decay=0.5"], "waiting.json")
    fit(work, "init.weights.h5", "out.weights.h5", 1)
    for name in ("Nadam", "Lamb", "Adafactor", "Muon", "ScheduleFreeAdamW", "Ftrl"):
        (work / "other.json").write_text(json.dumps(dict(listed, optimizer={"class_name": name, "config": {"learning_rate": 0.01}})))
        compile_with(work, ["clip_by_global_norm:max_norm=0.5", "scale_by_adam"], "other.json")
        got, _ = fit(work, "init.weights.h5", "out.weights.h5", 1)
        check(all(np.isfinite(got[k]).all() for k in WEIGHTS), f"{name}: weights are not finite")


REFUSED = {
    "": r"unknown gradient transform \"\"",
    "clip_by_valu:max_delta=1": r"did you mean \"clip_by_value\"",
    "clip": r"max_delta: expected a number for gradient transform clip, found nothing",
    "clip:max_delta": r"expected settings KEY=VALUE, found \"max_delta\"",
    "clip:max_delta=x": r"max_delta: expected a number, found \"x\"",
    "clip:max_delta=-1": r"max_delta: expected a number in 0 \.\.",
    "clip:max_delta=nan": r"max_delta: expected a number",
    "clip:max_delta=1,extra=2": r"extra: unknown field",
    "ema:decay=0.9,debias=3": r"debias: expected true or false",
    "sign@nothing": r"variables: expected a pattern of a trained variable's whole path, as \"d/kernel\"",
    "sign@(": r"expected a regular expression",
    "model": r"expected the file of a model, found nothing",
    "model:absent.json": r"absent\.json cannot be read",
    "model:data.npz": r"data\.npz: expected a \.keras archive",
    "model:wide.json": r"expected input \"g\" to take variable \"d/(kernel|bias)\" of f32\[(4,3|3)\], found f32\[N,7\]",
    "model:narrow.json@d/kernel": r"expected a gradient of f32\[4,3\] for variable \"d/kernel\", found f32\[4,2\]",
    "model:three.json": r"expected a model with one input, the gradient, or two",
    "model:weights.keras": r"expected a model without weights of its own in an archive, .* found \"mix/kernel\"",
    "model:damaged.keras": r"cannot be read as an archive",
    "model:twice.json": r"expected a model with one output",
}


def archived(work):
    """A model without weights is the same in an archive."""
    found = []
    for name in ("average.json", "average.keras"):
        compile_with(work, [f"model:{name}"])
        found.append(fit(work, "init.weights.h5", "out.weights.h5", 2)[0])
    check(all((found[0][k] == found[1][k]).all() for k in WEIGHTS), "a model in an archive")


def refused(work):
    (work / "program").unlink(missing_ok=True)
    for spec, pattern in REFUSED.items():
        p = compile_with(work, [spec], ok=False)
        check(p.returncode == 1, f"{spec}: exit {p.returncode}: {p.stderr[:300]}")
        check(re.search(pattern, p.stderr), f"{spec}: expected /{pattern}/, found: {p.stderr[:300]}")
        check(not (work / "program").exists(), f"{spec}: a program was left behind")
    p = run(tfcc, "compile", work / "model.json", "--compile-config", work / "sgd.json", "--gradient-aggregator", "ring", "-o",
            work / "program", ok=False)
    check(p.returncode == 1 and "expected the aggregator sum, mean or none" in p.stderr, f"aggregator: {p.stderr[:200]}")


with folder() as name:
    work = Path(name)
    write(work)
    against_optax(work)
    models(work)
    noise(work)
    configurations(work)
    archived(work)
    refused(work)
check.report()
