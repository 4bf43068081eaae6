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


def scaled_net(scaler):
    dtype = "mixed_float16"
    i = L.Input((6,))
    x = L.Dense(8, "relu", dtype=dtype)(i)
    x = L.BatchNormalization(dtype=dtype)(x)
    m = keras.Model(i, L.Dense(3, dtype="float32")(x))
    m.compile(scaler() if scaler else O.Adam(0.02), "mse")
    return m


def state(m):
    o = m.optimizer
    return [float(o.dynamic_scale), int(o.step_counter), int(o.inner_optimizer.iterations), *[np.asarray(v, "float32") for v in o.inner_optimizer.variables[2:]]]


def same_state(what, ours, theirs):
    for k, (a, b) in enumerate(zip(state(ours), state(theirs), strict=True)):
        close(f"{what}: state {k}", a, b, 0 if k < 3 else 2e-3)


def loss_scale_both_ways(work):
    """The loss scale and its counter go through weights files and archives in both directions; steps are skipped and the scale doubles on the way."""
    scaler = lambda: O.LossScaleOptimizer(O.Adam(0.02), initial_scale=2.0 ** 18, dynamic_growth_steps=3)
    r = np.random.default_rng(4)
    x, y = r.standard_normal((50, 6)).astype("float32"), r.standard_normal((50, 3)).astype("float32")
    np.savez(work / "d.npz", x=x, y=y)
    keras.utils.set_random_seed(2)
    m, other = scaled_net(scaler), scaled_net(scaler)
    (work / "m.json").write_text(m.to_json())
    program = compile_model(sys.argv[1], work / "m.json", work / "program")
    for one in (m, other):
        one.optimizer.build(one.trainable_variables)
    m.save_weights(work / "start.weights.h5")
    keras_fit = lambda one, epochs: one.fit(x, y, epochs=epochs, batch_size=16, shuffle=False, verbose=0).history["loss"]

    first = fit(program, work, 2, "--weights", work / "start.weights.h5", "--save", work / "two.weights.h5")
    fit(program, work, 2, "--weights", work / "start.weights.h5", "--save", work / "two.keras")
    close("scaled: loss", first, keras_fit(m, 2), 5e-3)
    check(state(m)[2] < 8 and state(m)[0] != 2.0 ** 18, f"scaled: no step was skipped: {state(m)[:3]}")
    other.load_weights(work / "two.weights.h5")
    same_state("scaled, weights to Keras", other, m)
    loaded = keras.models.load_model(work / "two.keras")
    same_state("scaled, archive to Keras", loaded, m)
    close("scaled: archive's predictions", loaded.predict(x, verbose=0), m.predict(x, verbose=0), 5e-3)
    m.save_weights(work / "theirs.weights.h5")
    m.save(work / "theirs.keras")
    want = keras_fit(m, 3)
    for what, one in (("weights", other), ("archive", loaded)):
        close(f"scaled: Keras continues from our {what}", keras_fit(one, 3), want, 5e-3)
        same_state(f"scaled, {what}, continued", one, m)
    got = fit(program, work, 3, "--weights", work / "theirs.weights.h5", "--save", work / "five.weights.h5")
    close("scaled: we continue from Keras's weights", got, want, 5e-3)
    other.load_weights(work / "five.weights.h5")
    same_state("scaled, back in Keras", other, m)
    archive = compile_model(sys.argv[1], work / "theirs.keras", work / "archive")
    close("scaled: we continue from Keras's archive", fit(archive, work, 3, "--save", work / "five.keras"), want, 5e-3)
    same_state("scaled, archive, back in Keras", keras.models.load_model(work / "five.keras"), m)

    # The option's scale is in the archive's configuration, and taken out of it.
    (work / "plain.json").write_text(scaled_net(None).to_json())
    for options, cls in ((("--loss-scale", "dynamic"), "LossScaleOptimizer"), (("--loss-scale", "dynamic", "--optimizer", "adam"), "LossScaleOptimizer"), ((), "Adam")):
        program = compile_model(sys.argv[1], work / "plain.json", work / "plain", *options)
        fit(program, work, 1, "--save", work / "plain.keras")
        loaded = keras.models.load_model(work / "plain.keras")
        check(type(loaded.optimizer).__name__ == cls, f"scaled: {options} gives {type(loaded.optimizer).__name__}")
        inner = getattr(loaded.optimizer, "inner_optimizer", loaded.optimizer)
        check(type(inner).__name__ == "Adam" and int(inner.iterations) == 4, f"scaled: {options}: {type(inner).__name__} after {int(inner.iterations)} steps")
    program = compile_model(sys.argv[1], work / "m.json", work / "bare", "--loss-scale", "none")
    fit(program, work, 1, "--save", work / "bare.keras")
    loaded = keras.models.load_model(work / "bare.keras")
    check(type(loaded.optimizer).__name__ == "Adam" and int(loaded.optimizer.iterations) == 4, "scaled: --loss-scale none")


def automatic_scale(work):
    """A loaded model's loss is scaled by itself only under a global policy mixed_float16, which --policy stands for."""
    keras.config.set_dtype_policy("mixed_float16")
    i = L.Input((3,))
    models = {"functional": keras.Model(i, L.Dense(1)(L.Dense(2)(i))), "sequential": keras.Sequential([L.Input((3,)), L.Dense(2), L.Dense(1)])}
    for name, m in models.items():
        m.compile("sgd", "mse")
        (work / f"{name}.json").write_text(m.to_json())
    for policy, options in (("float32", ()), ("mixed_float16", ("--policy", "mixed_float16"))):
        keras.config.set_dtype_policy(policy)
        for name in models:
            text = (work / f"{name}.json").read_text()
            m = keras.models.model_from_json(text)
            m.compile_from_config(json.loads(text)["compile_config"])
            p = run(sys.argv[1], "compile", work / f"{name}.json", "-o", work / "auto", "--explain", "precision", *options)
            ours = "loss scale: dynamic" in p.stdout
            check(ours == (type(m.optimizer).__name__ == "LossScaleOptimizer"), f"{name} under {policy}: {p.stdout}")
    keras.config.set_dtype_policy("float32")


def softmax_in_16_bits(work):
    """Computed in float32 and rounded once, as TensorFlow does in bfloat16; in float16 it rounds oftener."""
    x = np.random.default_rng(6).standard_normal((200, 9)).astype("float32")
    np.savez(work / "x.npz", x=x)
    for policy, dtype in (("mixed_bfloat16", "bfloat16"), ("mixed_float16", "float16")):
        i = L.Input((9,))
        m = keras.Model(i, L.Activation("linear", dtype="float32")(L.Softmax(dtype=policy)(i)))
        (work / "m.json").write_text(m.to_json())
        run(compile_model(sys.argv[1], work / "m.json", work / "softmax"), "predict", "--data", work / "x.npz", "--output", work / "p.npz")
        exact = np.asarray(keras.ops.softmax(keras.ops.cast(keras.ops.cast(x, dtype), "float64")))
        ours, theirs = (np.abs(y - exact).mean() for y in (np.load(work / "p.npz")["y"], m.predict(x, verbose=0)))
        check(ours <= 1.001 * theirs, f"softmax in {policy}: off by {ours}, Keras by {theirs}")


with folder() as work:
    softmax_in_16_bits(Path(work))
    loss_scale_both_ways(Path(work))
    automatic_scale(Path(work))
    for name, optimizer in (("adam", lambda: O.Adam(0.01)), ("sgd", lambda: O.SGD(0.05, momentum=0.9, nesterov=True)),
                            ("rmsprop", lambda: O.RMSprop(0.001, centered=True))):
        both_ways(Path(work), name, optimizer)
check.report()
