#!/usr/bin/env python3
"""Makes the files of models/ with Keras: model JSON exactly as Keras saves it, data as .npz, and Keras's own
history on them (models/reference/*.history.json), which tests/train compares with. Run once, with keras, tensorflow, jax and
scikit-learn installed; nothing that users run needs it.

    KERAS_BACKEND=tensorflow python make_models.py digits_cnn           its dropout draws TensorFlow's streams
    KERAS_BACKEND=jax        python make_models.py sonnets_transformer  sums repeated rows of an Embedding's gradient before
                                                                        Adam sees them, as tfcc does; on TensorFlow Keras does not

Data: the UCI handwritten digits (CC BY 4.0, E. Alpaydin and C. Kaynak, 1998) as scikit-learn ships them; eleven sonnets
of Shakespeare (public domain).
"""
import json
import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers as L
from keras import ops

HERE = Path(__file__).resolve().parent
MODELS = HERE.parent


def digits():
    from sklearn.datasets import load_digits

    d = load_digits()
    x, y = d.images.astype("uint8")[..., None], d.target.astype("uint8")
    order = np.random.default_rng(0).permutation(len(x))
    test, train = order[:360], order[360:]
    np.savez_compressed(MODELS / "digits_train.npz", x=x[train], y=y[train])
    np.savez_compressed(MODELS / "digits_test.npz", x=x[test], y=y[test])
    m = keras.Sequential(
        [
            L.Input((8, 8, 1), name="image"),
            L.Rescaling(1 / 16),
            L.Conv2D(32, 3, padding="same", activation="relu"),
            L.Conv2D(64, 3, activation="relu"),
            L.MaxPooling2D(),
            L.Flatten(),
            L.Dropout(0.25, seed=1),
            L.Dense(128, activation="relu"),
            L.Dropout(0.5, seed=2),
            L.Dense(10, activation="softmax"),
        ],
        name="digits_cnn",
    )
    m.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return m, x[train], y[train], dict(epochs=3, batch_size=32)


def transformer(vocabulary=64, steps=64, dim=64, heads=4, blocks=2):
    tokens = L.Input((steps,), dtype="int32", name="tokens")
    position = ops.cumsum(ops.ones_like(tokens), axis=1) - 1
    x = L.Embedding(vocabulary, dim)(tokens) + L.Embedding(steps, dim)(position)
    for _ in range(blocks):
        h = L.LayerNormalization(epsilon=1e-5)(x)
        x = x + L.MultiHeadAttention(heads, dim // heads)(h, h, use_causal_mask=True)
        h = L.LayerNormalization(epsilon=1e-5)(x)
        x = x + L.Dense(dim)(L.Dense(4 * dim, activation="gelu")(h))
    x = L.LayerNormalization(epsilon=1e-5)(x)
    m = keras.Model(tokens, L.Dense(vocabulary)(x), name="sonnets_transformer")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    m.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return m


def sonnets(steps=64, stride=8):
    text = (MODELS / "sonnets.txt").read_text()
    letters = sorted(set(text))
    assert len(letters) <= 64
    code = np.array([letters.index(c) for c in text], dtype="uint8")
    starts = range(0, len(code) - steps, stride)
    x = np.stack([code[s : s + steps] for s in starts])
    y = np.stack([code[s + 1 : s + steps + 1] for s in starts])
    np.savez_compressed(MODELS / "sonnets.npz", x=x, y=y)
    return transformer(steps=steps), x, y, dict(epochs=2, batch_size=16)


def make(name, parts):
    m, x, y, how = parts
    text = m.to_json()
    (MODELS / f"{name}.json").write_text(text + "\n")
    # initial weights small enough to keep: the recipe is a seeded generator, by variable order
    r = np.random.default_rng(7)
    m.set_weights([0.5 * r.standard_normal(w.shape).astype("float32") / np.sqrt(max(1, np.prod(w.shape[:-1])))
                   if len(w.shape) > 1 else np.asarray(w) for w in m.get_weights()])
    m.save_weights(HERE / f"{name}.weights.h5")
    losses = []
    log = keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: losses.append(logs["loss"]))
    h = m.fit(x, y, shuffle=False, verbose=0, callbacks=[log], **how).history
    (HERE / f"{name}.history.json").write_text(json.dumps(dict(how=how, history=h)) + "\n")
    print(name, m.count_params(), h)


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    make(sys.argv[1], {"digits_cnn": digits, "sonnets_transformer": sonnets}[sys.argv[1]]())
