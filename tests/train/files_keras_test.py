#!/usr/bin/env python3
"""Whole models as files, with live Keras: .h5 and .keras of Keras 3 and Keras 2 are compiled and trained on, and what
`--save` writes is opened and trained on by Keras. Needs keras, tf_keras and tensorflow (exit 77 without)."""
import json
import sys
import zipfile
from pathlib import Path

import numpy as np

from program import Checks, compile_model, folder, modules, run

h5py, keras, tf_keras, _ = modules("h5py", "keras", "tf_keras", "tensorflow")
TFCC = sys.argv[1]
check = Checks()
r = np.random.default_rng(3)
X, Y = r.standard_normal((24, 8, 5)).astype("float32"), np.eye(3)[r.integers(0, 3, 24)].astype("float32")


def net(k, optimizer, loss="categorical_crossentropy", metrics=("accuracy",)):
    L = k.layers
    i = L.Input((8, 5))
    x = L.Dense(6, activation="relu", name="first")(i)
    inner = k.Sequential([L.Input((8, 6)), L.BatchNormalization(), L.Conv1D(4, 3, padding="same")], name="inner")
    x = L.Add()([inner(x), L.Dense(4, use_bias=False, trainable=False)(x)])
    x = L.Bidirectional(L.LSTM(3, return_sequences=True))(x)
    x = L.LayerNormalization()(x)
    m = k.Model(i, L.Dense(3, activation="softmax")(L.GlobalAveragePooling1D()(x)))
    m.compile(optimizer, loss, metrics=list(metrics))
    return m


def steps(m, epochs=2):
    return m.fit(X, Y, epochs=epochs, batch_size=8, shuffle=False, verbose=0).history["loss"]


def close(name, got, want, bound):
    got, want = np.asarray(got), np.asarray(want)
    same = got.shape == want.shape
    worst = np.abs(got - want).max() if same else None
    check(same and worst <= bound, f"{name}: differs by {worst}, allowed {bound}: {got.ravel()[:4]} {want.ravel()[:4]}")


def fit(program, work, *more, epochs=2):
    run(program, "fit", "--data", work / "d.npz", "--epochs", epochs, "--batch-size", 8, "--no-shuffle", "--verbose", 0, "--history",
        work / "h.json", *more)
    return json.loads((work / "h.json").read_text())["loss"]


def predict(program, work, *more):
    run(program, "predict", "--data", work / "x.npz", "--output", work / "p.npz", *more)
    return np.load(work / "p.npz")["y"]


def read_and_go_on(work, name, k, make, suffix):
    """Keras trains, saves; we predict and go on."""
    m = make()
    steps(m, 1)
    path = work / f"{name}{suffix}"
    m.save(path)
    program = compile_model(TFCC, path, work / "program")
    close(f"{name}{suffix}: predictions", predict(program, work), m.predict(X, verbose=0), 2e-5)
    saved = work / "ours.keras"
    got = fit(program, work, "--save", saved, "--save", saved)
    close(f"{name}{suffix}: loss continued", got, steps(m), 3e-4)
    return m, program, saved


def open_ours(work, name, k, m, program, saved):
    """Keras opens our archive, goes on as we do."""
    other = k.models.load_model(saved)
    close(f"{name}: Keras predicts with our archive", other.predict(X, verbose=0), m.predict(X, verbose=0), 5e-4)
    want = steps(other)
    close(f"{name}: Keras continues our archive", fit(program, work, "--weights", saved), want, 3e-4)
    close(f"{name}: as its own model does", want, steps(m), 1e-3)
    again = compile_model(TFCC, saved, work / "again")
    close(f"{name}: our archive compiled", fit(again, work), want, 3e-4)


OPTIMIZERS = {
    "keras3": (keras, {"adam": lambda: keras.optimizers.Adam(0.01), "sgd": lambda: keras.optimizers.SGD(0.05, momentum=0.9)}),
    "keras2": (tf_keras, {"adam": lambda: tf_keras.optimizers.Adam(0.01), "rmsprop": lambda: tf_keras.optimizers.RMSprop(0.003, centered=True, momentum=0.5)}),
    "keras2_legacy": (tf_keras, {"adam": lambda: tf_keras.optimizers.legacy.Adam(0.01, amsgrad=True),
                                 "rmsprop": lambda: tf_keras.optimizers.legacy.RMSprop(0.003, centered=True, momentum=0.5),
                                 "adadelta": lambda: tf_keras.optimizers.legacy.Adadelta(1.0)}),
}

def low_rank(work):
    """Low-rank terms in mixed precision: Keras stores the sum in the compute type, we in that of the variables; either side reads both."""
    L = keras.layers
    for policy, bound in (("mixed_float16", 2e-3), ("mixed_bfloat16", 2e-2)):
        keras.config.set_dtype_policy(policy)
        i = L.Input((8, 5))
        m = keras.Model(i, L.Dense(3, "softmax", dtype="float32")(L.GlobalAveragePooling1D()(L.Dense(6, "tanh", lora_rank=2)(i))))
        keras.config.set_dtype_policy("float32")
        m.layers[1].lora_kernel_b.assign(r.standard_normal((2, 6)).astype("float32"))
        m.compile("sgd", "categorical_crossentropy")
        m.save_weights(work / "low.weights.h5")
        (work / "low.json").write_text(m.to_json())
        program = compile_model(TFCC, work / "low.json", work / "low")
        m.load_weights(work / "low.weights.h5")
        close(f"{policy}: Keras's file", predict(program, work, "--weights", work / "low.weights.h5"), m.predict(X, verbose=0), bound)
        fit(program, work, "--weights", work / "low.weights.h5", "--save", work / "new.weights.h5")
        m.load_weights(work / "new.weights.h5")
        close(f"{policy}: our file", predict(program, work, "--weights", work / "new.weights.h5"), m.predict(X, verbose=0), bound)


with folder() as work:
    work = Path(work)
    np.savez(work / "d.npz", x=X, y=Y)
    np.savez(work / "x.npz", x=X)
    for version, (k, optimizers) in OPTIMIZERS.items():
        k.utils.set_random_seed(1)
        for name, optimizer in optimizers.items():
            for suffix in (".h5", ".keras"):
                if suffix == ".keras" and version == "keras2_legacy":
                    continue
                loss = k.losses.CategoricalCrossentropy(label_smoothing=0.1) if name == "sgd" else "categorical_crossentropy"
                metrics = ["accuracy", k.metrics.AUC(name="auc")] if name == "adam" else ["mse"]
                title = f"{version} {name}"
                m, program, saved = read_and_go_on(work, title, k, lambda: net(k, optimizer(), loss, metrics), suffix)
                if version != "keras2_legacy":
                    open_ours(work, title + suffix, k, m, program, saved)
    # weights alone, in both layouts
    for k in (keras, tf_keras):
        m = net(k, "adam")
        (work / "m.json").write_text(m.to_json())
        program = compile_model(TFCC, work / "m.json", work / "program", "--optimizer", "sgd", "--loss", "mse", "--metrics", "mae")
        want = m.predict(X, verbose=0)
        names = ["w.weights.h5", "whole.h5", "whole.keras"] + (["w.h5"] if k is tf_keras else [])
        for name in names:
            m.save(work / name) if name.startswith("whole") else m.save_weights(work / name)
            close(f"{k.__name__} {name}", predict(program, work, "--weights", work / name), want, 2e-5)
        # compiled by options: Keras opens it with these
        fit(program, work, "--weights", work / "w.weights.h5", "--save", work / "o.keras", epochs=1)
        other = k.models.load_model(work / "o.keras")
        close(f"{k.__name__} options", fit(program, work, "--weights", work / "o.keras"), steps(other), 3e-4)
    # Keras 2.12 kept layers under another name
    with h5py.File(work / "w.weights.h5", "r+") as f:
        f.move("layers", "_layer_checkpoint_dependencies")
        inner = f["_layer_checkpoint_dependencies/sequential"]
        inner.move("layers", "_layer_checkpoint_dependencies")
    close("2.12", predict(program, work, "--weights", work / "w.weights.h5"), want, 2e-5)
    low_rank(work)
    # what does not fit
    with h5py.File(work / "w.h5", "r+") as f:
        names = [n.decode() if isinstance(n, bytes) else n for n in f.attrs["layer_names"]]
        f.attrs["layer_names"] = [n.encode() for n in names if n != "first"]
    p = run(program, "predict", "--data", work / "x.npz", "--output", work / "p.npz", "--weights", work / "w.h5", ok=False)
    check(p.returncode == 1 and "w.h5: " in p.stderr and "expected" in p.stderr, f"a layer is missing: {p.returncode} {p.stderr}")
    for bad in ("s.pb", "s.h5", "weights"):
        p = run(program, "fit", "--data", work / "d.npz", "--save", work / bad, ok=False)
        check(p.returncode == 1 and "expected a name that ends in" in p.stderr and not (work / bad).exists(), f"--save {bad}: {p.stderr}")
    # damage never brings the compiler or a program down
    whole = (work / "whole.h5").read_bytes()
    for i in range(24):
        damaged = bytearray(whole)
        for _ in range(1 + i % 8):
            damaged[r.integers(0, min(len(damaged), 40000))] = r.integers(0, 256)
        if i % 5 == 0:
            damaged = damaged[: len(damaged) // (2 + i)]
        (work / "damaged.h5").write_bytes(damaged)
        for argv in ((TFCC, "check", work / "damaged.h5"),
                     (program, "predict", "--data", work / "x.npz", "--output", work / "p.npz", "--weights", work / "damaged.h5")):
            p = run(*argv, ok=False, errors="replace")
            check(p.returncode in (0, 1), f"damaged {i}: {argv[1]} exit {p.returncode} {p.stderr}")
check.report()
