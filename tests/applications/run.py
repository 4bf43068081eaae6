#!/usr/bin/env python3
"""Every model of keras.applications, compiled and run beside live Keras from the same weights.

    run.py TFCC [--only GLOB,...] [--third] [--json OUT] [--table FILE] [--keep DIR]

Per model: predictions at the default image size, and one training step at a smaller one (SGD; dropout on, the generators'
states are in the weights file). Weights are random but sane: batch normalization gets the statistics of a batch, disturbed.
A limit is not a guess: Keras's own step is repeated from weights that differ in their last bits, and tfcc may be off by a
small multiple of what that changes. For the step, activations with kinks (ReLU, ReLU6, hard_*) give way to smooth ones on
both sides, and max pooling to average pooling: an element that rounds to the other side of a kink, or beside another maximum,
flips its gradient, and among millions some always do. The predictions keep the real ones; the gradients of the kinks
themselves are compared in the conformance cases.
`--third` takes the models that CI runs. `--table` notes each outcome in table.txt, from which docs/coverage.md is made.
Exit status 77: no Keras here.
"""
import argparse
import ctypes
import fnmatch
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
try:
    import h5py
    import keras
    import numpy as np
    import tensorflow as tf
except ImportError:
    print("needs keras, tensorflow, h5py and numpy")
    sys.exit(77)

# The image size of the training step: at least two by two pixels are left for the last batch
# normalization, else its statistics are those of a few numbers and the step is chaos.
STEP = {"Xception": 96, "InceptionV3": 112, "InceptionResNetV2": 112, "*": 64}
# Every family by its cheapest members, the cheapest first. InceptionResNetV2 alone would take a fifth of the time.
THIRD = ("MobileNetV3Small MobileNet MobileNetV2 MobileNetV3Large VGG16 EfficientNetB0 ResNet50 ResNet50V2 Xception "
         "EfficientNetV2B0 ConvNeXtTiny InceptionV3 DenseNet121 NASNetMobile").split()
BATCH = 8
STEP_RATE = 1000.0  # the step is looked at alone: it should move the weights by much more than their rounding
SMOOTH = {"relu": "silu", "relu6": "silu", "hard_sigmoid": "sigmoid", "hard_silu": "silu", "hard_swish": "silu"}
OPEN_SIZE = 224  # for the models that leave the image size open by default
# Rounding: relative to the largest prediction, and how many times Keras's own sensitivity.
PREDICTION, LOSS, TIMES = 1e-4, 1e-4, 8


def constructors():
    return sorted(n for n in dir(keras.applications) if n[0].isupper() and callable(getattr(keras.applications, n)))


def step_size(name):
    return next(size for glob, size in STEP.items() if fnmatch.fnmatch(name, glob))


# A child's peak memory counts what its parent held when it forked, and this process holds much: a small one between them.
METER = """
import resource, subprocess, sys, time
start = time.perf_counter()
p = subprocess.run(sys.argv[2:], stdout=open(sys.argv[1], "w"), stderr=subprocess.STDOUT)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, p.returncode)
"""


def run(argv, log):
    """-> (seconds, peak MB) of the process; its failure is ours."""
    out = subprocess.run([sys.executable, "-S", "-c", METER, log, *map(str, argv)], capture_output=True, text=True, check=True)
    seconds, peak, code = out.stdout.split()
    if code != "0":
        raise RuntimeError(f"{argv[1]}: exit {code}: {Path(log).read_text()[-400:]}")
    return round(float(seconds), 2), int(peak)


def randomize(model, images, rng):
    """Weights off their initial zeros and ones; batch normalization knows a batch, and is disturbed."""
    for layer in model.layers:
        for v in layer.weights:
            shape, name = tuple(v.shape), v.name
            if name == "gamma":
                v.assign(rng.uniform(0.8, 1.2, shape) * (0.3 if type(layer).__name__ == "LayerScale" else 1.0))
            elif name in ("beta", "bias"):
                v.assign(rng.uniform(-0.1, 0.1, shape))
            elif type(layer).__name__ == "Normalization" and name in ("mean", "variance"):
                v.assign(rng.uniform(0.3, 0.5, shape) if name == "mean" else rng.uniform(0.05, 0.15, shape))
            if type(layer).__name__ == "Normalization":
                layer.finalize_state()
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    if norms:
        momenta = [layer.momentum for layer in norms]
        for layer in norms:
            layer.momentum = 0.0
        model(images, training=True)
        for layer, momentum in zip(norms, momenta):
            layer.momentum = momentum
            variance = np.asarray(layer.moving_variance)
            layer.moving_variance.assign((variance + 0.1 * variance.mean() + 1e-3) * rng.uniform(0.9, 1.4, variance.shape))
            layer.moving_mean.assign(np.asarray(layer.moving_mean) + 0.1 * rng.standard_normal(variance.shape) * variance**0.5)


def disturb(model, rng):
    for v in model.trainable_variables:
        x = np.asarray(v)
        v.assign(x * (1.0 + 1.2e-7 * rng.uniform(-1.0, 1.0, x.shape).astype("float32")))


def seeded(model):
    """Weights files do not hold the generators' states: they start from seeds in the model."""
    for i, layer in enumerate(layer for layer in model.layers if hasattr(layer, "seed_generator")):
        layer.seed = 100 + i
        layer.seed_generator.state.assign([100 + i, 0])


def build(name, size=None):
    keras.backend.clear_session()
    make = getattr(keras.applications, name)
    model = make(weights=None, **({} if size is None else {"input_shape": (size, size, 3)}))
    if None in model.input_shape[1:]:
        model = make(weights=None, input_shape=(OPEN_SIZE, OPEN_SIZE, 3))
    prepare(model)
    return model


def prepare(model):
    model.compile(keras.optimizers.SGD(STEP_RATE), "sparse_categorical_crossentropy", run_eagerly=True)


def smooth(layer):
    """The layer, or the one that stands for it in a model without kinks: see the head of this file."""
    config = layer.get_config()
    if isinstance(layer, keras.layers.ReLU):
        kept = {key: config[key] for key in ("name", "trainable", "dtype")}
        return keras.layers.Activation(SMOOTH["relu"], **kept)
    if isinstance(layer, keras.layers.MaxPooling2D):
        return keras.layers.AveragePooling2D.from_config(config)
    if isinstance(config.get("activation"), str):
        config["activation"] = SMOOTH.get(config["activation"], config["activation"])
    return type(layer).from_config(config)


def pictures(model, n, rng):
    raw = any(type(layer).__name__ == "Rescaling" for layer in model.layers)
    shape = (n, *model.input_shape[1:])
    return rng.uniform(0, 255, shape).astype("float32") if raw else rng.standard_normal(shape, "float32")


def datasets(path):
    with h5py.File(path) as f:
        names = []
        f.visititems(lambda n, node: names.append(n) if isinstance(node, h5py.Dataset) and n.split("/")[0] != "optimizer" else None)
        for n in names:
            yield n, np.asarray(f[n])


def check_predictions(name, tfcc, work, report, rng):
    model = build(name)
    x = pictures(model, 1, rng)
    randomize(model, x, rng)
    (work / "model.json").write_text(model.to_json())
    model.save_weights(work / "w.weights.h5")
    weights = model.get_weights()
    np.savez(work / "x.npz", x=x)
    want = np.asarray(model(x, training=False))
    disturb(model, rng)
    noise = float(abs(np.asarray(model(x, training=False)) - want).max())
    report["parameters"], report["image"] = model.count_params(), x.shape[1]
    del model
    report["compile_s"], report["compile_mb"] = run([tfcc, "compile", work / "model.json", "-o", work / "m"], work / "log")
    report["predict_s"], report["predict_mb"] = run([work / "m", "predict", "--data", work / "x.npz", "--weights",
                                                    work / "w.weights.h5", "--output", work / "p.npz"], work / "log")
    got = np.load(work / "p.npz")["y"]
    scale = float(abs(want).max())
    report["prediction_difference"] = float(abs(got - want).max()) / scale
    limit = max(PREDICTION, TIMES * noise / scale)
    if not report["prediction_difference"] <= limit or want.std(axis=1).min() < 1e-6:
        report["failures"].append(f"predictions differ by {report['prediction_difference']:.2g} of {scale:.2g}, limit {limit:.2g}")
    return weights


def train_in_keras(model, x, y, before, path):
    model.load_weights(before)
    if path.name == "disturbed.weights.h5":
        disturb(model, np.random.default_rng(5))
    seeded(model)
    loss = float(model.train_on_batch(x, y))
    model.optimizer = None  # only the weights are compared
    model.save_weights(path)
    return loss


def check_updates(work, report):
    """Per weight: the distance from Keras's, relative to how far the step moved it, against Keras's own."""
    rows = []
    files = [work / f"{n}.weights.h5" for n in ("before", "want", "disturbed")]
    with h5py.File(work / "got.weights.h5") as got:
        for (n, before), (_, want), (_, disturbed) in zip(*map(datasets, files)):
            g = np.asarray(got[n])
            moved = float(np.linalg.norm((want - before).astype("float64")))
            ulps = 1.2e-7 * float(np.linalg.norm(want.astype("float64")))
            distance = [float(np.linalg.norm((a - want).astype("float64"))) for a in (g, disturbed)]
            if g.dtype.kind in "iu" or moved == 0.0:
                if distance[0]:
                    report["failures"].append(f"{n}: differs by {distance[0]:.2g} though Keras's step leaves it or counts")
                continue
            rows.append((n, distance[0] / moved, distance[1] / moved, ulps / moved))
    usual = float(np.median([noise for _, _, noise, _ in rows]))
    report["step_noise"], report["step_difference"] = usual, float(np.median([d for _, d, _, _ in rows]))
    bad = [(n, d, noise) for n, d, noise, ulps in rows if not d <= TIMES * max(usual, noise, ulps) + 1e-5]
    report["weights"] = len(rows)
    for n, d, noise in bad[:3]:
        report["failures"].append(f"{n}: its step differs by {d:.2g} of its length (Keras's own noise {noise:.2g}, usual {usual:.2g})"
                                  f", one of {len(bad)}")


def check_step(name, tfcc, work, report, rng, weights):
    model = keras.models.clone_model(build(name, step_size(name)), clone_function=smooth)
    prepare(model)
    x, y = pictures(model, BATCH, rng), rng.integers(0, 1000, (BATCH,)).astype("int32")
    if [w.shape for w in weights] == [w.shape for w in model.get_weights()]:
        model.set_weights(weights)
    randomize(model, x, rng)
    seeded(model)
    (work / "step.json").write_text(model.to_json())
    np.savez(work / "xy.npz", x=x, y=y)
    before = work / "before.weights.h5"
    model.optimizer, optimizer = None, model.optimizer
    model.save_weights(before)
    losses = []
    for path in ("want", "disturbed"):
        model.optimizer = optimizer
        losses.append(train_in_keras(model, x, y, before, work / f"{path}.weights.h5"))
    del model
    report["step_compile_s"], report["step_compile_mb"] = run([tfcc, "compile", work / "step.json", "-o", work / "s"], work / "log")
    report["step_s"], report["step_mb"] = run(
        [work / "s", "fit", "--data", work / "xy.npz", "--weights", before, "--batch-size", BATCH, "--epochs", 1, "--no-shuffle",
         "--seed", 0, "--save", work / "got.weights.h5", "--history", work / "h.json", "--verbose", 0], work / "log")
    loss = json.loads((work / "h.json").read_text())["batch_loss"][0]
    report["loss"], report["loss_difference"] = losses[0], abs(loss - losses[0])
    if not report["loss_difference"] <= max(LOSS * abs(losses[0]), TIMES * abs(losses[1] - losses[0])):
        report["failures"].append(f"loss {loss:.7g}, Keras has {losses[0]:.7g} (own noise {abs(losses[1] - losses[0]):.2g})")
    check_updates(work, report)


def check_model(name, tfcc, work):
    report = {"model": name, "failures": []}
    start, cpu = time.perf_counter(), sum(os.times()[:4])
    seed = sum(map(ord, name))
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    try:
        weights = check_predictions(name, tfcc, work, report, rng)
        gc.collect()
        check_step(name, tfcc, work, report, rng, weights)
    except Exception as e:  # one model's failure must not hide the others'
        report["failures"].append(f"{type(e).__name__}: {e}")
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    report["seconds"] = round(time.perf_counter() - start, 1)
    report["cpu_s"] = round(sum(os.times()[:4]) - cpu, 1)
    report["own_peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return report


def note_outcome(path, name, agrees):
    """A line `MODEL STATE` for every model: supported, failed, or not run (so far)."""
    states = dict.fromkeys(constructors(), "not run")
    if path.exists():
        states |= dict(line.split(maxsplit=1) for line in path.read_text().splitlines())
    states[name] = "supported" if agrees else "failed"
    path.write_text("".join(f"{n} {states[n]}\n" for n in sorted(states)))


def main():
    warnings.simplefilter("ignore")
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("tfcc", type=Path)
    p.add_argument("--only", default="*", help="names (globs, comma-separated)")
    p.add_argument("--third", action="store_true", help="the models that CI runs")
    p.add_argument("--json", type=Path, help="write the reports here, one per line as they come")
    p.add_argument("--table", type=Path, help="note what was seen in this file")
    p.add_argument("--keep", type=Path, help="work here and leave the files of the last model")
    a = p.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(2)
    names = [n for n in (THIRD if a.third else constructors()) if any(fnmatch.fnmatch(n, g) for g in a.only.split(","))]
    failed = 0
    for name in names:
        with tempfile.TemporaryDirectory(prefix="tfcc-applications-") as folder:
            work = a.keep or Path(folder)
            work.mkdir(parents=True, exist_ok=True)
            r = check_model(name, a.tfcc.resolve(), work)
        failed += bool(r["failures"])
        print(f"{'FAIL' if r['failures'] else 'ok':4} {name:18} {r.get('compile_s', 0):6} s {r.get('compile_mb', 0):5} MB"
              f"  prediction {r.get('prediction_difference', -1):8.2g}  loss {r.get('loss_difference', -1):8.2g}"
              f"  step {r.get('step_difference', -1):8.2g} (Keras {r.get('step_noise', -1):8.2g})  {r['seconds']} s, {r['cpu_s']} of CPU", flush=True)
        for f in r["failures"]:
            print("     ", f[:600], flush=True)
        if a.table:
            note_outcome(a.table, name, not r["failures"])
        if a.json:
            with a.json.open("a") as out:
                out.write(json.dumps(r) + "\n")
    print(f"{len(names) - failed} of {len(names)} models agree with Keras")
    sys.exit(failed > 0 or not names)


if __name__ == "__main__":
    main()
