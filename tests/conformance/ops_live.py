#!/usr/bin/env python3
"""keras.ops against live Keras: values, dtypes and gradients of many probes, each one call of an operation.

    ops_live.py --tfcc PATH [--only REGEX] [--group N] [--no-train] [--list] [--sample] [--seed N]

Needs Keras with TensorFlow. Probes are put into models of N; a model predicts (values and dtypes are compared), and
another of the probes that give floating results takes one step of SGD, in which each probe has a Dense kernel of its own:
its change is the gradient. A model that tfcc refuses is halved until single probes are named. The families of dtypes are
every operation on every pair of dtypes. Prints what differs as it comes; the
exit status is 0 when nothing does.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import warnings

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow", TF_ENABLE_ONEDNN_OPTS="0", CUDA_VISIBLE_DEVICES="")
warnings.filterwarnings("ignore")
import numpy as np
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
import keras
from keras import layers as L
from keras.src.ops.numpy import Copy

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ops_probes

ROWS = 4


class Findings(list):
    """(name, why) of each probe, shown as it comes, once."""

    def __init__(self, word):
        super().__init__()
        self.word = word

    def append(self, finding):
        if finding in self:
            return
        super().append(finding)
        print(f"{self.word} {finding[0]}: {finding[1]}", flush=True)


class Probe:
    def __init__(self, name, build, train):
        self.name, self.build, self.train = name, build, train


def make_data(seed):
    r = np.random.default_rng(seed)
    return {"x": r.normal(size=(ROWS, 4, 6)).astype("float32"), "z": r.normal(size=(ROWS, 4, 6)).astype("float32"),
            "k": r.integers(0, 6, (ROWS, 4)).astype("int32")}


def flat(t):
    if isinstance(t, dict):
        return [t[k] for k in sorted(t)]
    if isinstance(t, (list, tuple)):
        return [e for part in t for e in flat(part)]
    return [t]


def build(probes, train):
    """A model of the probes, and for each output the name of its probe."""
    x, z, k = keras.Input((4, 6), name="x"), keras.Input((4, 6), name="z"), keras.Input((4,), dtype="int32", name="k")
    outputs, names, bad = {}, {}, []
    for i, p in enumerate(probes):
        try:
            y = flat(p.build(L.Dense(6, use_bias=False, name=f"probe{i}", kernel_initializer="glorot_uniform")(x) if p.train else x, z, k))
        except Exception as e:
            bad.append((p, f"{type(e).__name__}: {str(e)[:150]}"))
            continue
        for j, t in enumerate(y):
            if not hasattr(t, "dtype"):
                continue
            kind = keras.backend.standardize_dtype(t.dtype)
            if train and "float" not in kind:
                continue
            if kind == "bfloat16" or train:
                t = keras.ops.cast(t, "float32")
            if t.shape and t.shape[0] is None:
                t = keras.ops.reshape(t, (-1, int(np.prod(t.shape[1:])))) if train else t
            else:  # no batch: as one row that every row of the batch repeats
                t = keras.ops.reshape(t, (1, -1)) if len(t.shape) else keras.ops.reshape(t, (1, 1))
                one = keras.ops.cast(k[:, :1] * 0 + 1, t.dtype)
                t = keras.ops.logical_and(t, one) if keras.backend.standardize_dtype(t.dtype) == "bool" else t * one
            n = f"o{i}_{j}"
            outputs[n] = L.Identity(name=n)(t) if train else Copy(name=n)(t)  # a layer would cast
            names[n] = p
    if not outputs:
        return None, names, bad
    return keras.Model([x, z, k], outputs), names, bad


def run(args, folder):
    r = subprocess.run(args, capture_output=True, text=True, cwd=folder, timeout=300)
    return None if r.returncode == 0 else f"exit {r.returncode}: {(r.stderr or r.stdout).strip()}"


def serialize(model):
    """The model's JSON, or why there is none."""
    try:
        return model.to_json(), None
    except Exception as e:
        return None, f"does not serialise: {str(e).strip()[:120]}"


def compile_model(tfcc, text, folder):
    with open(os.path.join(folder, "model.json"), "w") as f:
        f.write(text)
    return run([tfcc, "compile", "model.json", "-o", "exe"], folder)


def differs(got, want, rtol, atol):
    if got.shape != want.shape:
        return f"shape {got.shape}, Keras {want.shape}"
    if got.dtype != want.dtype:
        return f"dtype {got.dtype}, Keras {want.dtype}"
    g, w = got.astype("float64"), want.astype("float64")
    same = (g == w) | (np.isnan(g) & np.isnan(w))
    with np.errstate(invalid="ignore"):
        ok = same | (np.abs(g - w) <= atol + rtol * np.abs(w))
    if ok.all():
        return None
    k = tuple(np.argwhere(~ok)[0])
    return f"{(~ok).sum()} of {ok.size} differ, at {k} got {g[k]:.7g} want {w[k]:.7g}"


def tolerance(name):
    if "bfloat16" in name:
        return 2e-2, 1e-2
    return (2e-3, 2e-3) if "float16" in name else (2e-4, 2e-5)


def check_values(o, probes, data, folder):
    model, names, bad = build(probes, False)
    for p, why in bad:
        o.skipped.append((p.name, why))
    if not model:
        return
    text, why = serialize(model)
    if why:
        return halve(o, check_values, probes, data, why, o.skipped)
    try:
        want = model(data, training=False)
    except Exception as e:
        return halve(o, check_values, probes, data, f"Keras: {str(e)[-200:]}", o.skipped)
    problem = compile_model(o.tfcc, text, folder)
    if not problem:
        model.save_weights(os.path.join(folder, "w.weights.h5"))
        np.savez(os.path.join(folder, "d.npz"), **{f"x.{k}": v for k, v in data.items()})
        problem = run(["./exe", "predict", "--data", "d.npz", "--weights", "w.weights.h5", "--output", "p.npz"], folder)
    if problem:
        return halve(o, check_values, probes, data, problem, o.failed)
    got = np.load(os.path.join(folder, "p.npz"))
    for n, p in names.items():
        o.values += 1
        d = differs(got[f"y.{n}"] if f"y.{n}" in got else got["y"], np.asarray(want[n]), *tolerance(p.name))
        if d:
            o.failed.append((p.name, f"value {n}: {d}"))


def check_training(o, probes, data, folder):
    probes = [p for p in probes if p.train]
    model, names, bad = build(probes, True) if probes else (None, {}, [])
    if not model:
        return
    r = np.random.default_rng(1)
    y = {n: r.normal(size=(ROWS,) + tuple(t.shape[1:])).astype("float32") for n, t in model.output.items()}
    model.compile(keras.optimizers.SGD(1.0), {n: "mse" for n in y}, jit_compile=False)
    known = {layer.name for layer in model.layers}
    before = {p.name: model.get_layer(f"probe{i}").kernel.numpy() for i, p in enumerate(probes) if f"probe{i}" in known}
    text, why = serialize(model)
    if why:
        return halve(o, check_training, probes, data, why, o.skipped)
    model.save_weights(os.path.join(folder, "w.weights.h5"))
    problem = compile_model(o.tfcc, text, folder)
    try:
        model.train_on_batch(data, y)
    except Exception as e:
        return halve(o, check_training, probes, data, f"Keras trains: {str(e)[-200:]}", o.skipped)
    if not problem:
        want = {p.name: model.get_layer(f"probe{i}").kernel.numpy() for i, p in enumerate(probes) if p.name in before}
        arrays = {f"x.{k}": v for k, v in data.items()}
        arrays.update({f"y.{k}": v for k, v in y.items()} if len(y) > 1 else {"y": next(iter(y.values()))})
        np.savez(os.path.join(folder, "d.npz"), **arrays)
        problem = run(["./exe", "fit", "--data", "d.npz", "--weights", "w.weights.h5", "--batch-size", str(ROWS), "--epochs", "1",
                       "--no-shuffle", "--seed", "0", "--save", "s.weights.h5"], folder)
    if problem:
        return halve(o, check_training, probes, data, problem, o.failed)
    model.load_weights(os.path.join(folder, "s.weights.h5"))
    for i, p in enumerate(probes):
        if p.name not in before:
            continue
        o.gradients += 1
        got, w = model.get_layer(f"probe{i}").kernel.numpy() - before[p.name], want[p.name] - before[p.name]
        size = np.abs(w[np.isfinite(w)]).max(initial=0)
        rtol, _ = tolerance(p.name)
        d = differs(got, w, 5 * rtol, max(size * rtol * 2, 4e-7))
        if d:
            o.failed.append((p.name, f"gradient: {d}"))


def halve(o, check, probes, data, problem, to):
    if len(probes) == 1:
        to.append((probes[0].name, " ".join(problem.split())[-300:] if to is o.skipped else problem[:300]))
        return
    for part in (probes[: len(probes) // 2], probes[len(probes) // 2:]):
        with tempfile.TemporaryDirectory() as folder:
            check(o, part, data, folder)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--tfcc", required=True)
    a.add_argument("--only", default="")
    a.add_argument("--group", type=int, default=40)
    a.add_argument("--no-train", action="store_true")
    a.add_argument("--list", action="store_true")
    a.add_argument("--sample", action="store_true", help="of the binary grid, only the pairs in ops_probes.SAMPLE")
    a.add_argument("--seed", type=int, default=0)
    o = a.parse_args()
    o.tfcc = os.path.abspath(o.tfcc)
    o.failed, o.skipped, o.values, o.gradients = Findings("FAILED"), Findings("skipped"), 0, 0
    probes = [Probe(*p) for p in ops_probes.probes() if re.search(o.only, p[0])]
    if o.sample:
        probes = [p for p in probes if not p.name.startswith("binary.") or tuple(p.name.split(".")[-2:]) in ops_probes.SAMPLE]
    if o.list:
        print(*(p.name for p in probes), sep="\n")
        return 0
    data = make_data(o.seed)
    for i in range(0, len(probes), o.group):
        keras.backend.clear_session()
        keras.utils.set_random_seed(o.seed + 1)
        part = probes[i:i + o.group]
        with tempfile.TemporaryDirectory() as folder:
            check_values(o, part, data, folder)
        if not o.no_train:
            with tempfile.TemporaryDirectory() as folder:
                check_training(o, part, data, folder)
        print(f"{min(i + o.group, len(probes))} of {len(probes)} probes, {len(o.failed)} failed", flush=True)
    print(f"{o.values} values, {o.gradients} gradients compared; {len(o.failed)} failed, {len(o.skipped)} skipped")
    return 1 if o.failed else 0


if __name__ == "__main__":
    sys.exit(main())
