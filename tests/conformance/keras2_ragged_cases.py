"""Rows of different lengths, as Keras 2 takes them (tf_keras); the arrays are x.values and x.row_splits.
Run: python corpus.py build2 keras2_ragged_cases.py, then tol."""
import numpy as np
import tf_keras as k
from corpus import Ragged, case, chain

L = k.layers
WORDS = np.array(["tea", "milk", "salt", "wine"])


def rows(d, empty=False):
    """Row splits: one long row and, with `empty`, one without values."""
    lengths = d.r.integers(1, 7, d.n)
    lengths[1] = 15
    if empty:
        lengths[3] = 0
    return np.concatenate([[0], np.cumsum(lengths)]).astype("int64")


def ids(d, splits, most):
    return Ragged(d.r.integers(0, most, splits[-1]).astype("int32"), splits)


def vectors(d, splits, width):
    return Ragged(d.r.standard_normal((splits[-1], width)).astype("float32"), splits)


def fin(i, x, loss="mse", metrics=None, opt=None):
    m = k.Model(i, x)
    m.compile(opt or k.optimizers.SGD(0.05), loss, metrics=metrics)
    return m


def C(name, **kw):
    return case("keras2", f"ragged_{name}", keras2=True, n=8, batch=3, **kw)


@C("recurrent")
def _(d):
    i = k.Input((None, 3), ragged=True, name="x")
    x = L.Bidirectional(L.LSTM(4, return_sequences=True))(i)
    x = L.GRU(3, go_backwards=True, return_sequences=True)(x)
    return fin(i, L.Dense(2)(L.SimpleRNN(3)(x))), vectors(d, rows(d, True), 3), d.f(2), d.w()


@C("tags")
def _(d):
    i = k.Input((None,), ragged=True, dtype="int32", name="x")
    x = L.GRU(4, return_sequences=True)(L.Embedding(11, 5)(i))
    s = rows(d)
    model = fin(i, L.Dense(3, "softmax")(x), "sparse_categorical_crossentropy", ["accuracy"], k.optimizers.Adam(0.02))
    return model, ids(d, s, 11), ids(d, s, 3)


@C("tags_weighted")
def _(d):
    i = k.Input((None, 3), ragged=True, name="x")
    x = L.Dense(5, "relu", activity_regularizer=k.regularizers.L1(0.05), kernel_regularizer="l2")(i)
    s = rows(d)
    return fin(i, L.Dense(2)(x), "mae"), vectors(d, s, 3), vectors(d, s, 2), d.w()


@C("lookups")
def _(d):
    a = k.Input((None,), ragged=True, dtype="string", name="a")
    b = k.Input((None,), ragged=True, dtype="int32", name="b")
    x = L.GlobalMaxPooling1D()(L.Embedding(6, 3)(L.StringLookup(vocabulary=list(WORDS[:3]), num_oov_indices=2)(a)))
    numbers = L.IntegerLookup(vocabulary=[2, 3, 5, 7])
    y = L.GlobalAveragePooling1D()(L.Dense(3)(L.Embedding(6, 4)(numbers(b))))
    z = [L.CategoryEncoding(9, output_mode="multi_hot")(b), L.StringLookup(vocabulary=list(WORDS[:2]), output_mode="count")(a),
         L.CategoryEncoding(5, output_mode="count")(L.Hashing(5)(a))]
    s = rows(d)
    data = {"a": Ragged(WORDS[d.r.integers(0, 4, s[-1])], s), "b": ids(d, s, 9)}
    return fin([a, b], L.Dense(2)(L.Concatenate()([x, y, *z]))), data, d.f(2)


@C("masked")
def _(d):
    i = k.Input((None,), ragged=True, dtype="int32", name="x")
    x = chain(i, L.Embedding(4, 5, mask_zero=True), L.Dense(3, "tanh"), L.GlobalAveragePooling1D(), L.Dense(2))
    s = rows(d)
    tokens = ids(d, s, 4)
    tokens.values[s[1:] - 1] = 1  # a row of zeros has no mean
    return fin(i, x), tokens, d.f(2)
