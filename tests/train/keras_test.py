#!/usr/bin/env python3
"""Live Keras beside a compiled program: weights and optimizer state go both ways through .weights.h5, and training
continues where the other stopped. Needs keras and tensorflow (exit 77 without)."""
import json
import sys
from pathlib import Path

import numpy as np

from program import Checks, compile_model, folder, modules, run

keras, _ = modules("keras", "tensorflow")
L, O = keras.layers, keras.optimizers
check = Checks()


def net(optimizer):
    i = L.Input((12, 12, 2))
    x = L.Conv2D(8, 3, padding="same", use_bias=False)(i)
    x = L.Activation("relu")(L.BatchNormalization()(x))
    x = L.MaxPooling2D()(x)
    x = L.Add()([x, L.Conv2D(8, 3, padding="same", activation="gelu")(x)])
    x = L.Dropout(0.2, seed=5)(L.Flatten()(x))
    m = keras.Model(i, L.Dense(4, activation="softmax")(x))
    m.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return m


def close(name, got, want, bound):
    worst = np.abs(np.asarray(got) - np.asarray(want)).max()
    check(worst <= bound, f"{name}: differs by {worst}, allowed {bound}")


def fit(program, work, epochs, *more):
    run(program, "fit", "--data", work / "d.npz", "--epochs", epochs, "--batch-size", 16, "--no-shuffle", "--verbose", 0,
        "--history", work / "h.json", *more)
    return json.loads((work / "h.json").read_text())["loss"]


def both_ways(work, name, optimizer):
    r = np.random.default_rng(3)
    x, y = r.standard_normal((50, 12, 12, 2)).astype("float32"), r.integers(0, 4, 50)
    np.savez(work / "d.npz", x=x, y=y)
    np.savez(work / "x.npz", x=x)
    keras.utils.set_random_seed(1)
    m = net(optimizer())
    (work / "m.json").write_text(m.to_json())
    program = compile_model(sys.argv[1], work / "m.json", work / "program")
    m.optimizer.build(m.trainable_variables)
    m.save_weights(work / "start.weights.h5")

    # tfcc trains, Keras goes on
    first = fit(program, work, 2, "--weights", work / "start.weights.h5", "--save", work / "two.weights.h5")
    kept = [np.asarray(w) for w in m.get_weights()]
    want_first = m.fit(x, y, epochs=2, batch_size=16, shuffle=False, verbose=0).history["loss"]
    close(f"{name}: loss", first, want_first, 2e-4)
    want_predicted = m.predict(x, verbose=0)
    other = net(optimizer())
    other.optimizer.build(other.trainable_variables)
    other.load_weights(work / "two.weights.h5")
    close(f"{name}: Keras predicts with our weights", other.predict(x, verbose=0), want_predicted, 2e-4)
    run(program, "predict", "--data", work / "x.npz", "--weights", work / "two.weights.h5", "--output", work / "p.npz")
    close(f"{name}: our predictions", np.load(work / "p.npz")["y"], other.predict(x, verbose=0), 1e-5)
    for ours, theirs in zip(other.optimizer.variables, m.optimizer.variables, strict=True):
        close(f"{name}: optimizer {theirs.path}", ours, theirs, 2e-4)
    check(not np.allclose(kept[0], other.get_weights()[0]), f"{name}: the weights have moved")

    # Keras trains, tfcc goes on (dropout's generators are not in weights files: without it from here on)
    plain = keras.models.clone_model(m, clone_function=lambda l: L.Identity() if isinstance(l, L.Dropout) else l.__class__.from_config(l.get_config()))
    plain.compile(optimizer(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    plain.fit(x, y, epochs=1, batch_size=16, shuffle=False, verbose=0)
    plain.save_weights(work / "plain.weights.h5")
    (work / "plain.json").write_text(plain.to_json())
    program = compile_model(sys.argv[1], work / "plain.json", work / "plain")
    got = fit(program, work, 2, "--weights", work / "plain.weights.h5")
    close(f"{name}: loss continued", got, plain.fit(x, y, epochs=2, batch_size=16, shuffle=False, verbose=0).history["loss"], 2e-4)


with folder() as work:
    for name, optimizer in (("adam", lambda: O.Adam(0.01)), ("sgd", lambda: O.SGD(0.05, momentum=0.9, nesterov=True)),
                            ("rmsprop", lambda: O.RMSprop(0.001, centered=True))):
        both_ways(Path(work), name, optimizer)
check.report()
