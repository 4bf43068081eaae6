#!/usr/bin/env python3
"""Differential fuzzer: random models, Keras as the oracle.

    differential.py --tfcc PATH [--seed S] [--count N] [--minutes M] [--keep DIR] [--no-reduce] [-v]
    differential.py --tfcc PATH --replay FILE... [--record DIR] [-v]

Every seed gives one model (fuzz_generate.py). Keras predicts, evaluates and trains it, and so does the program that tfcc makes
of it; predictions, losses, metrics and weights are compared as the conformance suite compares its cases. Where they differ by
more than rounding, the tolerance is widened by what a rounding error in the weights and in the data does to Keras's own
numbers; if they still differ, Keras computes them once more as a graph. What is left is reduced and stored in DIR, as a
description (replay it with --replay) and as a case of the conformance suite. Exit status 1 when there was any, 77 where Keras is missing.
"""
import argparse
import copy
import gc
import importlib.util
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parent / "conformance")]
RTOL, ATOL, EPSILON, MOST_FACTOR = 1e-4, 1e-5, 1.2e-7, 500


class Invalid(Exception):
    """Keras does not run this model, or its numbers are of no use."""


def start_keras():
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow", CUDA_VISIBLE_DEVICES="")
    import keras
    import tensorflow as tf
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    add_plainly()
    return keras, tf


def add_plainly():
    """Keras's add on TensorFlow takes x + y for a bias along axis 1 when y has that many elements in another axis: x[N,2,2,1] +
    y[2,1] comes out wrong. Here such sums are differences."""
    import keras.src.backend.tensorflow.numpy as numbers
    original = numbers.add

    def add(x1, x2):
        if len(getattr(x2, "shape", ())) < 2 or "bool" in str(x2.dtype):
            return original(x1, x2)
        return numbers.subtract(x1, numbers.negative(x2))

    numbers.add = add


class Oracle:
    """Makes a case folder of the conformance suite from a description."""

    def __init__(self):
        import corpus
        import fuzz_model
        self.keras, self.tf = start_keras()
        self.corpus, self.model_of = corpus, fuzz_model
        self.compile_model, corpus.compile_model = corpus.compile_model, self.compile_anew
        gc.collect()
        gc.freeze()  # clear_session collects garbage: what was imported need not be looked at each time

    def compile_anew(self, model, config, legacy=False):
        """Compiles, with the seed generators as they were at first: some layers draw in predict and evaluate, too."""
        for layer in model._flatten_layers():
            for generator in layer._seed_generators:
                generator.state.assign(self.first_state[id(generator)])
        self.compile_model(model, config, legacy)

    def write(self, description, folder):
        """Model, weights and data; what meta.json says of them."""
        k, d = self.keras, description
        k.backend.clear_session()
        k.utils.set_random_seed(d["seed"] % 2**31)
        model = self.model_of.build(d)
        r = self.model_of.random_of(d, "values")
        for v in model.weights:
            a = np.array(v)
            name = v.path.split("/")[-1]
            if a.dtype.kind != "f" or name in ("mean", "count"):
                continue
            v.assign((r.uniform(0.5, 1.5, a.shape) if "variance" in name else a + 0.1 * r.standard_normal(a.shape)).astype(a.dtype))
        meta = dict(category="fuzz", keras_version=k.__version__, keras2=False, model="model.json", batch_size=d["batch"], epochs=d["epochs"],
                    samples=d["samples"], train=bool(d.get("train")), recipe=None, note="", floor="float32")
        (folder / "model.json").write_text(model.to_json())
        np.savez_compressed(folder / "data.npz", **self.model_of.data_of(d, model))
        twin, _ = self.corpus.load_model(folder, meta, k)
        twin.set_weights(model.get_weights())
        twin.save_weights(str(folder / "init.weights.h5"))
        return meta

    def run(self, folder, meta, noise=None, data=None):
        """Keras on the files of the folder: results, history, evaluation; with `noise`, from perturbed weights and data."""
        c = self.corpus
        self.keras.backend.clear_session()
        model, config = c.load_model(folder, meta, self.keras)
        wmap = c.weight_map(model, list(model.weights), folder)
        if noise is None:
            trainable = {id(v) for v in model.trainable_weights}
            meta["inputs"], meta["outputs"] = c.names_of(model)
            meta["weights"] = [dict(path=p, h5=h, shape=[int(s) for s in v.shape], dtype=np.array(v).dtype.name, trainable=id(v) in trainable)
                               for p, h, v in wmap]
        c.init_weights(model, folder, meta, None, wmap)
        self.first_state = {id(g): np.array(g.state) for layer in model._flatten_layers() for g in layer._seed_generators}
        res, history, ev = c.run_once(model, config, data or folder, meta, self.keras, perturb=0.0 if noise is None else EPSILON, seed=noise or 0)
        if meta["train"]:
            c.settle(folder, meta, wmap, res, model)
        return res, history, ev

    def make(self, description, folder, eager=True):
        """The whole case, with the tolerances of the floor."""
        self.tf.config.run_functions_eagerly(eager)
        try:
            meta = self.write(description, folder)
            res, history, ev = self.run(folder, meta)
        except Exception as e:
            raise Invalid(f"{type(e).__name__}: {str(e)[:300]}") from e
        for key, a in res.items():
            if a.dtype.kind == "f" and (not np.isfinite(a).all() or (a.size and np.abs(a).max() > 1e5)):
                raise Invalid(f"{key} is not finite or huge")
        np.savez_compressed(folder / "expected.npz", **res)
        if history is not None:
            self.corpus.dump(folder / "history.json", history)
            self.corpus.dump(folder / "evaluate.json", ev)
        meta["other_datasets"] = self.corpus.other_datasets(folder, meta)
        meta["tolerances"] = dict(rtol=RTOL, atol=ATOL, factors={}, skip={})
        self.corpus.dump(folder / "meta.json", meta)
        return meta, flat(res, history, ev)

    def widen(self, folder, meta, ref):
        """Tolerances by what rounding does to Keras itself."""
        factors = {}
        for noise in (0, 1, 2):
            with tempfile.TemporaryDirectory() as t:
                perturb_data(folder / "data.npz", Path(t) / "data.npz", noise)
                alt = flat(*self.run(folder, meta, noise, Path(t)))
            for key, value in ref.items():
                factors[key] = max(factors.get(key, 0.0), 4 * self.corpus.excess(value, alt[key], RTOL, ATOL))
        meta["tolerances"]["factors"] = {k: round(f, 3) for k, f in factors.items() if 1 < f <= MOST_FACTOR}
        meta["tolerances"]["skip"] = {k: "rounding alone moves it further" for k, f in factors.items() if f > MOST_FACTOR}
        self.corpus.dump(folder / "meta.json", meta)


def flat(res, history, ev):
    return {**res, **{f"history.{k}": np.array(v) for k, v in (history or {}).items()}, **{f"evaluate.{k}": np.array(v) for k, v in (ev or {}).items()}}


def perturb_data(source, dest, seed):
    r = np.random.default_rng(seed)
    with np.load(source) as z:
        data = {k: z[k] for k in z.files}
    for k, a in data.items():
        if k.startswith("x") and a.dtype.kind == "f":
            data[k] = (a * (1 + EPSILON * r.uniform(-1, 1, a.shape))).astype(a.dtype)
    np.savez(dest, **data)


def kind_of(diff):
    """What failed, without the numbers: reductions keep to one kind."""
    stage = diff.split(":")[0]
    return stage if stage in ("compile", "predict", "evaluate", "fit") else stage.split(".")[0]


class Fuzzer:
    def __init__(self, tfcc, keep, verbose, reduce):
        self.oracle, self.tfcc, self.keep, self.verbose, self.reduce = Oracle(), tfcc, keep, verbose, reduce
        self.ran = self.invalid = 0
        self.failures = []

    def diffs(self, description, folder, graph=True):
        """The differences that are none of rounding or of how Keras runs: [] when there are none."""
        import run
        meta, ref = self.oracle.make(description, folder)
        diffs = self.compare(run, folder)
        if not diffs:
            return []
        if any(kind_of(d) != "compile" for d in diffs):
            self.oracle.widen(folder, meta, ref)
            diffs = self.compare(run, folder)
        if diffs and graph:
            meta, ref = self.oracle.make(description, folder, eager=False)
            self.oracle.widen(folder, meta, ref)
            diffs = self.compare(run, folder)
        return diffs

    def compare(self, run, folder):
        with tempfile.TemporaryDirectory() as t:
            return run.run_case(folder, self.tfcc, Path(t), 120)["diffs"]

    def record(self, description, folder):
        """A case of the conformance suite, as Keras computes it in a graph."""
        folder.mkdir(parents=True, exist_ok=True)
        meta, ref = self.oracle.make(description, folder, eager=False)
        self.oracle.widen(folder, meta, ref)
        self.ran += 1

    def try_one(self, description, name):
        with tempfile.TemporaryDirectory() as t:
            try:
                diffs = self.diffs(description, Path(t))
            except Invalid as e:
                self.invalid += 1
                if self.verbose:
                    print(f"{name}: not run: {e}", flush=True)
                return
        self.ran += 1
        if not diffs:
            if self.verbose:
                print(f"{name}: ok", flush=True)
            return
        print(f"{name}: {diffs[0]}", flush=True)
        self.failures.append(name)
        self.store(description, diffs, name)

    def store(self, description, diffs, name):
        from fuzz_reduce import reduce_case
        kinds = {kind_of(d) for d in diffs[:1]}
        first = diffs[0].split(": ", 2)[-1][:60] if "compile" in kinds else None

        def fails(d):
            with tempfile.TemporaryDirectory() as t:
                try:
                    found = self.diffs(d, Path(t), graph=False)
                except Invalid:
                    return False
            return bool(found) and kind_of(found[0]) in kinds | ({"pred", "final", "batch_loss", "history", "evaluate", "w"} if "compile" not in kinds else set())

        if self.keep:
            folder = self.keep / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "whole.json").write_text(json.dumps(description))
        small = reduce_case(description, fails, self.shapes, 150) if self.reduce else description
        folder = self.keep / name if self.keep else Path(tempfile.mkdtemp())
        try:
            diffs = self.diffs(small, folder)
        except Invalid as e:
            diffs = [str(e)]
        text = json.dumps(small)
        print(f"{name}: {'reduced: ' + text if self.reduce else 'kept'}\n    " + "\n    ".join(diffs[:6]), flush=True)
        (folder / "small.json").write_text(text)
        (folder / "diffs.txt").write_text("\n".join(diffs) + "\n")

    def shapes(self, description):
        """Shape and dtype of every tensor, by id."""
        fm = self.oracle.model_of
        self.oracle.keras.backend.clear_session()
        tensors = {one["id"]: fm.make_input(one) for one in description["inputs"]}
        layer_of = {name: fm.make_layer(layer, name) for name, layer in description["layers"].items()}
        for node in description["nodes"]:
            fm.name_results(node, fm.call_node(node, layer_of, tensors), tensors)
        return {k: (tuple(t.shape[1:]), str(t.dtype)) for k, t in tensors.items() if hasattr(t, "shape")}


def descriptions(args):
    """(name, description) of every model to try; None for a seed without one."""
    from fuzz_generate import generate
    for path in args.replay:
        path = Path(path)
        yield path.parent.name if path.stem in ("small", "whole") else path.stem, json.loads(path.read_text())
    seed, end = args.seed, time.monotonic() + args.minutes * 60
    while not args.replay and time.monotonic() < end and seed < args.seed + args.count:
        try:
            made = generate(seed)
        except Exception:
            traceback.print_exc()
            made = None
        yield f"seed{seed}", made and copy.deepcopy(made)
        seed += 1


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tfcc", required=True)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--count", type=int, default=10**9)
    p.add_argument("--minutes", type=float, default=10**6)
    p.add_argument("--keep", type=Path)
    p.add_argument("--replay", nargs="*", default=[], help="descriptions instead of seeds")
    p.add_argument("--record", type=Path, help="with --replay: write cases of the conformance suite here, for what was repaired")
    p.add_argument("--no-reduce", action="store_true", help="keep what differs as it is: --replay reduces it later")
    p.add_argument("-v", action="store_true")
    a = p.parse_args()
    if any(importlib.util.find_spec(name) is None for name in ("keras", "tensorflow", "h5py")):
        print("skipped: this Python has no keras with tensorflow")
        return 77
    start = time.monotonic()
    fuzzer = Fuzzer(str(Path(a.tfcc).resolve()), a.keep, a.v, not a.no_reduce)
    for name, description in descriptions(a):
        if description is None:
            fuzzer.invalid += 1
            continue
        try:
            if a.record:
                fuzzer.record(description, a.record / f"fuzz_{Path(name).stem}")
                continue
            fuzzer.try_one(description, name)
        except Exception:
            traceback.print_exc()
            fuzzer.failures.append(name)
    print(f"{fuzzer.ran} models compared, {fuzzer.invalid} not run by Keras, {len(fuzzer.failures)} differ: {fuzzer.failures} "
          f"({time.monotonic() - start:.0f} s)")
    return 1 if fuzzer.failures or not fuzzer.ran else 0


if __name__ == "__main__":
    sys.exit(main())
