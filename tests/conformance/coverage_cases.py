"""Cases for what the tables of the frontend declare and no other case has (coverage_test.py tells), many things
in each. Seeded values of initializers are compared in tests/unit/runtime_random_test.c; here they are read."""
import math

import numpy as np
import keras
from keras import constraints as K
from keras import initializers as N
from keras import layers as L
from keras import losses as LS
from keras import metrics as M
from keras import ops
from keras import optimizers as O
from keras import regularizers as R
from keras.src.applications.convnext import LayerScale, StochasticDepth
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

from corpus import case, chain, make

I = keras.Input
S = O.schedules


def join(parts):
    return L.Concatenate()([p if len(p.shape) == 2 else L.Flatten()(p) for p in parts])


# ------------------------------------------------------------------ layers

@case("coverage", "layers_as_activations", n=5, batch=2, jax=False)
def _(d):
    i, s, w = I((5,), name="i"), I((5, 4), name="s"), I((4, 5, 2), name="w")
    shared = L.Dense(4, activation=L.BatchNormalization())
    parts = [L.Dense(4, activation=L.PReLU(alpha_initializer="ones", alpha_regularizer="l2"))(i), shared(s), shared(L.Dense(4)(s)),
             L.Conv1D(3, 2, activation=L.PReLU(shared_axes=[1]))(s), L.Conv2DTranspose(2, 2, activation=L.Dense(2, "tanh"))(w),
             L.SeparableConv2D(3, 2, activation=L.Softmax(axis=[1, 2]))(w), L.Activation(L.LayerNormalization())(s),
             L.EinsumDense("abc,cd->abd", (5, 3), activation=L.PReLU(trainable=False))(s),
             L.Dense(3, activation=L.PReLU(), trainable=False)(i), L.Dense(4, activation=L.Dropout(0.3, seed=4))(i)]
    m = make([i, s, w], L.Dense(2)(join(parts)), O.SGD(0.02))
    m([np.zeros((2, *t.shape[1:]), "float32") for t in m.inputs])  # makes the weights of the activations
    return m, {"i": d.f(5), "s": d.f(5, 4), "w": d.f(4, 5, 2)}, d.f(2)


@case("coverage", "attention_axes", n=5, batch=2, jax=False)
def _(d):
    s, w, m = I((3, 4), name="s"), I((3, 2, 4), name="w"), I((2, 3, 3), dtype="bool", name="m")
    x, y = L.Dense(4)(s), L.Dense(4)(w)
    heads = lambda axes, t, **kw: L.MultiHeadAttention(2, 3, attention_axes=axes)(t, t, **kw)
    parts = [heads(3, y), heads(-1, y), heads((2, 1), y), heads((1, 3), y), heads(2, x), heads(1, y, attention_mask=m),
             L.MultiHeadAttention(2, 3, attention_axes=2, dropout=0.3, seed=2)(x, x)]
    return (make([s, w, m], L.Dense(2)(join(parts)), O.SGD(0.02)),
            {"s": d.f(3, 4), "w": d.f(3, 2, 4), "m": d.bin(2, 3, 3).astype(bool) | np.eye(3, dtype=bool)}, d.f(2))


@case("coverage", "layers_3d", n=5, batch=2)
def _(d):
    i = I((3, 4, 3, 2))
    x = L.Conv3DTranspose(3, 2, strides=(1, 2, 1), padding="same", activation="tanh")(i)
    parts = [L.GlobalMaxPooling3D()(x), L.GlobalAveragePooling3D()(x), L.Conv3DTranspose(1, 2)(x),
             L.AdaptiveAveragePooling3D((2, 3, 2))(x), L.AdaptiveMaxPooling3D(2)(x), L.SpatialDropout3D(0.0)(x)]
    return make(i, L.Dense(2)(join(parts)), O.SGD(0.01)), d.f(3, 4, 3, 2), d.f(2)


@case("coverage", "pooling_adaptive", n=5, batch=2)
def _(d):
    a, b = I((7, 3), name="a"), I((5, 6, 2), name="b")
    x, y = L.Dense(3)(a), L.Dense(2)(b)
    parts = [L.AdaptiveAveragePooling1D(3)(x), L.AdaptiveMaxPooling1D(4)(x), L.AdaptiveAveragePooling2D((2, 4))(y),
             L.AdaptiveMaxPooling2D((3, 2))(y)]
    return make([a, b], L.Dense(2)(join(parts)), O.SGD(0.02)), {"a": d.f(7, 3), "b": d.f(5, 6, 2)}, d.f(2)


@case("coverage", "lora", n=6, batch=3, jax=False)
def _(d):
    a, b, t = I((4, 4, 4), name="a"), I((4,), name="b"), I((3,), dtype="int32", name="t")
    e = L.Embedding(5, 3, mask_zero=True, lora_rank=2)(t)
    parts = [L.Conv2D(4, 2, groups=2, lora_rank=2, lora_alpha=3.0)(a), L.Conv1D(2, 2, lora_rank=1)(e),
             L.EinsumDense("abc,cde->abde", (3, 2, 3), bias_axes="e", lora_rank=2, lora_alpha=1.0)(e),
             L.Dense(3, kernel_regularizer="l2", lora_rank=2, lora_alpha=5.0)(b), L.Dense(2, use_bias=False, lora_rank=1, trainable=False)(b)]
    return make([a, b, t], L.Dense(2)(join(parts)), O.Adam(0.01)), {"a": d.f(4, 4, 4), "b": d.f(4), "t": d.i(5, 3)}, d.f(2)


@case("coverage", "spectral_mask", n=6, batch=3, jax=False)
def _(d):
    i = I((4, 3))
    return make(i, L.SpectralNormalization(L.Dense(3))(L.Masking()(i))), d.padded(4, 3), d.f(4, 3)


@case("coverage", "spectral_integers", n=5, batch=3, jax=False, note="the result has the integer type of the tokens")
def _(d):
    t = I((4,), dtype="int32", name="t")
    wide = N.RandomUniform(-4.0, 4.0, seed=1)
    x = L.SpectralNormalization(L.Embedding(6, 3, embeddings_initializer=wide))(t)
    return make(t, L.Dense(2)(x), O.SGD(0.1)), d.i(6, 4), d.f(4, 2)


@case("coverage", "prelu_shared", n=5, batch=3, note="shared_axes at and below 0 count from the end of the parameters' axes")
def _(d):
    i = I((2, 3, 4))
    parts = [L.PReLU(N.RandomUniform(0.1, 0.9, seed=s), shared_axes=a)(i) for s, a in enumerate([[-1], [0], [1, -1], [-2]])]
    return make(i, L.Dense(2)(join(parts)), O.SGD(0.1)), d.f(2, 3, 4), d.f(2)


@case("coverage", "steps_masked", n=5, batch=3, jax=False, note="the layer in TimeDistributed takes its step's part of the mask")
def _(d):
    a, b = I((2, 4, 3), name="a"), I((4, 3), name="b")
    x = L.Masking()(a)
    inner = [L.LSTM(2), L.GRU(2, return_sequences=True), L.GlobalAveragePooling1D(), L.Bidirectional(L.SimpleRNN(2)), L.Conv1D(2, 2)]
    parts = [L.TimeDistributed(one)(x) for one in inner] + [L.TimeDistributed(L.BatchNormalization())(L.Masking()(b))]
    return make([a, b], L.Dense(2)(join(parts)), O.SGD(0.002)), {"a": np.stack([d.padded(4, 3), d.padded(4, 3)], 1), "b": d.padded(4, 3)}, d.f(2)


@case("coverage", "spectral_shared", n=5, batch=3, jax=False, note="every version of the kernel in a step has a part of its gradient")
def _(d):
    i = I((4, 3))
    one = L.SpectralNormalization(L.Dense(3, kernel_regularizer="l2"))
    parts = [one(one(i)), L.TimeDistributed(L.SpectralNormalization(L.Dense(2), power_iterations=2))(i)]
    x = StochasticDepth(0.002)(L.Masking()(i))
    return make(i, L.Dense(2)(join(parts + [L.LSTM(2)(x)])), O.SGD(0.1, momentum=0.5)), d.padded(4, 3), d.f(2)


@case("coverage", "cells_alone", n=5, batch=3)
def _(d):
    a, b = I((3,), name="a"), I((4,), name="b")
    h, c = L.Dense(4)(b), L.Dense(4, activation="tanh")(b)
    y, (p, q) = L.LSTMCell(4)(a, [h, c])
    z, r = L.GRUCell(4, reset_after=False)(y, p)
    w, (s, (t, u)) = L.StackedRNNCells([L.SimpleRNNCell(4), L.LSTMCell(2)])(z, [[r], [q[:, :2], h[:, 1:3]]])
    return make([a, b], L.Dense(2)(join([w, t, u] + s)), O.SGD(0.1)), {"a": d.f(3), "b": d.f(4)}, d.f(2)


@case("coverage", "recurrent_cells", n=7, batch=3)
def _(d):
    i = I((4, 3))
    x = L.RNN(L.GRUCell(4), return_sequences=True)(i)
    x = L.RNN([L.LSTMCell(3), L.SimpleRNNCell(4)], return_sequences=True)(x)
    x = L.RNN(L.StackedRNNCells([L.SimpleRNNCell(3, activation="relu"), L.LSTMCell(2)]), go_backwards=True)(x)
    return make(i, L.Dense(2)(x), O.SGD(0.1)), d.f(4, 3), d.f(2)


@case("coverage", "conv_lstm", n=5, batch=2)
def _(d):
    a, b = I((3, 5, 2), name="a"), I((2, 3, 4, 3, 2), name="b")
    x = L.ConvLSTM1D(3, 2, padding="same", return_sequences=True)(a)
    y = L.ConvLSTM3D(2, 2, recurrent_activation="hard_sigmoid")(b)
    return (make([a, b], L.Dense(2)(join([L.ConvLSTM1D(2, 3)(x), y])), O.SGD(0.05)),
            {"a": d.f(3, 5, 2), "b": d.f(2, 3, 4, 3, 2)}, d.f(2))


@case("coverage", "convnext_layers", n=6, batch=3, jax=False, note="StochasticDepth has no seed, without which it does not run on JAX; at this rate nothing is dropped, but all is scaled")
def _(d):
    i = I((4, 4, 2))
    x = L.Conv2D(3, 2)(i)
    x = L.Add()([x, StochasticDepth(0.002)(LayerScale(0.5, 3)(L.Dense(3, "gelu")(x)))])
    return make(i, chain(x, L.Flatten(), L.Dense(2)), O.SGD(0.05)), d.f(4, 4, 2), d.f(2)


@case("coverage", "inception_resnet_layer", n=6, batch=3)
def _(d):
    i = I((4, 4, 2))
    x = L.Conv2D(3, 2, padding="same")(i)
    x = CustomScaleLayer(0.17)([x, L.Conv2D(3, 1)(L.ReLU()(x))])
    return make(i, chain(x, L.Flatten(), L.Dense(2)), O.SGD(0.05)), d.f(4, 4, 2), d.f(2)


@case("coverage", "reversible_embedding", n=6, batch=3)
def _(d):
    i = I((5,), dtype="int32")
    tied, capped = L.ReversibleEmbedding(9, 4), L.ReversibleEmbedding(9, 4, tie_weights=False, mask_zero=True, logit_soft_cap=0.7)
    x = L.Dense(4, "tanh")(tied(i))
    y = L.LSTM(4, return_sequences=True)(capped(i))
    y = L.Dense(4)(ops.multiply(y, 30.0))
    a, b = L.Activation("linear", name="a")(tied(x, reverse=True)), L.Softmax(name="b")(capped(y, reverse=True))
    return (make(i, [a, b], O.SGD(0.05), {"a": "mse", "b": "kl_divergence"}),
            d.tokens(9, 5), {"a": d.f(5, 9), "b": d.dist(9, 5)})


@case("coverage", "frozen_outside", n=5, batch=3, note="trainable=False of these layers does not reach the layers inside")
def _(d):
    a, b = I((3, 4), name="a"), I((3, 5, 4), name="b")
    parts = [L.MultiHeadAttention(2, 3, trainable=False)(a, a), L.GroupQueryAttention(2, 4, 2, trainable=False)(a, a),
             L.ConvLSTM1D(2, 2, trainable=False)(b), L.Bidirectional(L.GRU(2), trainable=False)(a), L.GRU(2, trainable=False)(a),
             L.TimeDistributed(L.Dense(2), trainable=False)(a), L.RNN(L.LSTMCell(2), trainable=False)(a)]
    return make([a, b], L.Dense(2)(join(parts)), O.SGD(0.1)), {"a": d.f(3, 4), "b": d.f(3, 5, 4)}, d.f(2)


@case("coverage", "preprocessing_integers", n=5, batch=3, jax=False)
def _(d):
    a, b = I((4,), dtype="int32", name="a"), I((3, 2), name="b")
    parts = [L.Discretization([-0.5, 0.5], output_mode="multi_hot", dtype="int64")(b), L.CategoryEncoding(6, "count", dtype="int32")(a),
             L.Rescaling(3, offset=-2, dtype="int32")(a), L.Rescaling(2.0, dtype="uint8")(a), L.Flatten(dtype="int16")(b * 3.0)]
    parts = [ops.cast(p, "float32") for p in parts]
    return make([a, b], L.Dense(2)(join(parts)), O.SGD(0.01)), {"a": d.i(6, 4), "b": d.f(3, 2)}, d.f(2)


@case("coverage", "preprocessing", n=6, batch=3, jax=False)
def _(d):
    a, b, c = I((4,), dtype="int32", name="a"), I((3,), name="b"), I((5, 6, 3), name="c")
    y = L.Conv2D(2, 2)(L.Resizing(5, 4)(c))
    parts = [L.IntegerLookup(vocabulary=[5, 2, 3])(a), L.IntegerLookup(vocabulary=[4, 1], output_mode="multi_hot")(a),
             L.CategoryEncoding(6, "count")(a), L.Discretization([-0.5, 0.5])(b), L.Rescaling(0.5, offset=0.1)(b),
             L.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 0.5])(b), L.CenterCrop(2, 3)(y)]
    parts = [ops.cast(p, "float32") for p in parts]
    return (make([a, b, c], L.Dense(2)(join(parts)), O.SGD(0.01)),
            {"a": d.i(6, 4), "b": d.f(3), "c": d.f(5, 6, 3)}, d.f(2))


WORDS = ["a", "b", "Zebra", "caf\u00e9", "new york", "Hello, world!", "", "a b  c", "\u65e5\u672c", "x" * 40]


@case("coverage", "preprocessing_text", n=10, batch=4, jax=False)
def _(d):
    s, t = keras.Input((3,), dtype="string", name="s"), keras.Input((1,), dtype="string", name="t")
    k = keras.Input((1,), dtype="int64", name="k")
    numbers = [L.StringLookup(vocabulary=["a", "b", "caf\u00e9"], num_oov_indices=2, mask_token="")(s),
               L.StringLookup(vocabulary=["a", "Zebra"], output_mode="tf_idf", idf_weights=[0.5, 0.25])(s),
               L.Hashing(7, salt=[5, 9])(s), L.Hashing(4, output_mode="one_hot")(k), L.HashedCrossing(5)([t, k])]
    text = L.TextVectorization(vocabulary=["a", "b", "hello", "a b", "zebra"], output_sequence_length=6, ngrams=2)(t)
    y = chain(text, L.Embedding(7, 3, mask_zero=True), L.GlobalAveragePooling1D())
    return (make([s, t, k], L.Dense(2)(join([ops.cast(p, "float32") for p in numbers] + [y])), O.SGD(0.01)),
            {"s": d.words(WORDS, 3), "t": d.words(WORDS, 1), "k": d.i(9, 1).astype("int64")}, d.f(2))


@case("coverage", "augmentation_inference", n=4, batch=2, train=False, jax=False)
def _(d):
    i = I((6, 8, 3))
    x = chain(i, L.RandomBrightness(0.1), L.RandomColorDegeneration(0.2), L.RandomContrast(0.2),
              L.RandomColorJitter(brightness_factor=0.1, hue_factor=0.1), L.RandomElasticTransform(), L.RandomErasing(),
              L.RandomFlip("horizontal"), L.RandomGaussianBlur(), L.RandomGrayscale(), L.RandomHue(0.2), L.RandomInvert(),
              L.RandomPerspective(), L.RandomPosterization(4), L.RandomRotation(0.1), L.RandomSaturation(0.3),
              L.RandomSharpness(0.2), L.RandomShear((0.1, 0.2)), L.RandomTranslation(0.1, 0.2), L.RandomZoom(0.2),
              L.Conv2D(2, 3))
    return keras.Model(i, x), d.f(6, 8, 3, lo=0, hi=255), None


# ------------------------------------------------------------------ operations

@case("coverage", "operations", n=6, batch=6, jax=False)
def _(d):
    i, k = I((4, 6), name="x"), I((4,), dtype="int32", name="k")
    x = L.Dense(6)(i)
    picture, whole = ops.reshape(x, (-1, 4, 2, 3)), ops.sum(x, axis=0)
    batched = [ops.arccos(ops.tanh(x) * 0.9), ops.arccosh(ops.abs(x) + 1.5), ops.bitwise_not(k), ops.conj(x), ops.less(x, i),
               ops.greater_equal(x, i), ops.bitwise_left_shift(k, 2), ops.bitwise_right_shift(k * 9, 1),
               ops.amin(x, axis=1),
               ops.empty_like(x) * 0.0, ops.array(x), ops.convert_to_tensor(x),
               ops.unfold(ops.transpose(picture, (0, 3, 1, 2)), 2), ops.fold(ops.reshape(x, (-1, 8, 3)), (2, 4), 2)]
    single = [ops.allclose(x, i), ops.flipud(whole), ops.vdot(whole, whole * 0.5) * 0.01,
              ops.full((2, 2), ops.sum(whole)), ops.sum(ops.cast(ops.ndim(x), "float32")),
              ops.vstack([whole, whole * 2]), ops.vsplit(whole, [1])[1], ops.broadcast_to(ops.sum(whole, axis=0), (3, 6)),
              ops.slice(whole, (1, 2), (2, 3))]
    parts = [ops.reshape(ops.cast(p, "float32"), (-1, math.prod(p.shape[1:]))) for p in batched]
    parts += [ops.zeros_like(x[:, 0, :1]) + ops.reshape(ops.cast(p, "float32"), (1, math.prod(p.shape))) for p in single]
    return make([i, k], L.Dense(2)(ops.concatenate(parts, axis=-1)), O.SGD(1e-4)), {"x": d.f(4, 6), "k": d.i(6, 4)}, d.f(2)


@case("coverage", "operations_fourier", n=5, batch=3, jax=False, note="istft of Keras on JAX gives other numbers")
def _(d):
    i = I((4, 6), name="x")
    x = L.Dense(6)(i)
    row = ops.reshape(L.Dense(70)(ops.reshape(x, (-1, 24))), (-1, 70))
    parts = [ops.fft((x, i)), ops.fft((row, row * row)), ops.fft2((x, i)), ops.ifft2((i, x)), ops.rfft(x), ops.rfft(row),
             ops.irfft((x, i)), ops.stft(row, 12, 5, 16), ops.stft(row, 8, 3, 8, window="hamming", center=False),
             ops.istft((x, i), 8, 3, 10), ops.istft((x, i), 9, 4, 10, length=15, window="hamming")]
    parts = [ops.tanh(L.Flatten()(p) * 0.1) for part in parts for p in (part if isinstance(part, (list, tuple)) else [part])]
    return make(i, L.Dense(2)(join(parts)), O.SGD(1e-3)), d.f(4, 6), d.f(2)


@case("coverage", "operations_linalg", n=5, batch=5, jax=False, note="vectors of factors are known up to their signs only")
def _(d):
    i = I((4, 6), name="x")
    x = ops.tanh(L.Dense(6)(i))
    square = x[:, :, :4] * 0.3 + 2 * ops.eye(4)
    spd = ops.matmul(x, ops.transpose(x, (0, 2, 1))) + ops.reshape(ops.arange(1.0, 5.0), (4, 1)) * ops.eye(4)
    wide, deep = ops.sum(x, axis=0), ops.transpose(ops.sum(x, axis=0))
    u, s, v = ops.svd(square, full_matrices=False)
    w, e = ops.eigh(spd)
    q, r = ops.qr(x)
    sign, size = ops.slogdet(square)
    batched = [ops.cholesky(spd), ops.cholesky(spd, upper=True), ops.linalg.cholesky_inverse(ops.tril(square)), ops.det(square), sign, size,
               ops.logdet(spd), ops.inv(square), ops.solve(square, x), ops.solve(square, x[:, :, 0]), ops.solve_triangular(square, i, lower=True),
               ops.solve_triangular(square, x), ops.abs(u), s, ops.abs(v), ops.svd(x, compute_uv=False), w, ops.abs(e), ops.abs(q), ops.abs(r),
               ops.abs(ops.qr(ops.transpose(x, (0, 2, 1)))[0]), ops.linalg.pinv(x), ops.linalg.matrix_rank(x),
               ops.norm(x, ord="nuc", axis=(1, 2)), ops.norm(x, ord=2, axis=(1, 2)), ops.norm(x, ord=-2, axis=(1, 2))]
    single = [*ops.lu_factor(ops.stop_gradient(ops.sum(square, axis=0))), ops.lstsq(deep, deep), ops.lstsq(wide, wide[:, 0])]
    parts = [ops.reshape(ops.cast(p, "float32"), (-1, math.prod(p.shape[1:]))) for p in batched]
    parts += [ops.zeros_like(x[:, 0, :1]) + ops.reshape(ops.cast(p, "float32"), (1, math.prod(p.shape))) for p in single]
    return make(i, L.Dense(2)(ops.concatenate(parts, axis=-1)), O.SGD(1e-4)), d.f(4, 6), d.f(2)


@case("coverage", "operations_numbers", n=5, batch=5, jax=False)
def _(d):
    i, k = I((4, 6), name="x"), I((4,), dtype="int32", name="k")
    x = ops.tanh(L.Dense(6)(i))
    whole = ops.sum(x, axis=0)
    gaps = ops.where(whole > 0.5, float("nan"), whole)
    batched = [ops.gcd(k * 6, k + 8), ops.lcm(k * 6, k + 8), ops.i0(x * 4), ops.nextafter(ops.stop_gradient(x), i),
               ops.image.scale_and_translate(ops.reshape(x, (-1, 4, 6, 1)), (5, 6, 5, 1), np.array([1.4, 0.7], "float32"), np.array([0.2, -0.3], "float32"),
                                             (1, 2), "cubic")]
    single = [ops.geomspace(ops.abs(whole[0]) + 0.5, 5.0, 4), ops.nanmedian(gaps), ops.nanquantile(gaps, 0.3), ops.nanpercentile(gaps, 65.0, method="midpoint"),
              ops.correlate(whole[0], whole[1, :3]), ops.correlate(whole[0], whole[1, :3], "same"), ops.correlate(whole[2], whole[3], "full"),
              ops.argpartition(ops.cast(whole[0] * 9, "int32"), 2),
              ops.image.map_coordinates(whole, ops.reshape(ops.abs(whole[:2, :4]) * 2, (2, 4)), 1, "reflect"),
              ops.image.map_coordinates(whole, ops.reshape(whole[:2, :4] * 3, (2, 4)), 0, "constant", 0.5)]
    parts = [ops.reshape(ops.cast(p, "float32"), (-1, math.prod(p.shape[1:]))) for p in batched]
    parts += [ops.zeros_like(x[:, 0, :1]) + ops.reshape(ops.cast(p, "float32"), (1, math.prod(p.shape))) for p in single]
    return make([i, k], L.Dense(2)(ops.concatenate(parts, axis=-1)), O.SGD(1e-4)), {"x": d.f(4, 6), "k": d.i(6, 4)}, d.f(2)


@case("coverage", "operations_warp", n=5, batch=5, jax=False)
def _(d):
    i, k = I((4, 6), name="x"), I((4,), dtype="int32", name="k")
    images = ops.reshape(ops.sigmoid(ops.concatenate([i, i * 0.5, -i], 1)), (-1, 4, 6, 3))
    moves = ops.concatenate([ops.ones_like(i[:, 0, :1]) * 0.9, i[:, 0, 1:6] * 0.3, i[:, 1, :2] * 0.01], -1)
    start, end = np.array([[0.0, 0], [0, 4], [4, 0], [4, 4]], "float32"), np.array([[0.2, 0.4], [-0.3, 4], [3.5, 0.6], [4.4, 3.5]], "float32")
    move = np.array([0.9, 0.1, 0.3, -0.2, 1.1, -0.4, 0.0, 0.0], "float32")
    warped = [ops.image.affine_transform(images, moves, "bilinear", fill, 0.2) for fill in ("constant", "nearest", "wrap", "reflect")]
    warped += [ops.image.affine_transform(ops.transpose(images, (0, 3, 1, 2)), move, "nearest", "reflect", data_format="channels_first"),
               ops.image.affine_transform(ops.cast(images * 255, "uint8"), move, "bilinear", "constant", 7.5),
               ops.image.perspective_transform(images, start, end, "bilinear", 0.2), ops.image.perspective_transform(images, start, end, "nearest")]
    return make([i, k], L.Dense(2)(join([ops.cast(p, "float32") for p in warped])), O.SGD(1e-4)), {"x": d.f(4, 6), "k": d.i(6, 4)}, d.f(2)


@case("coverage", "operations_numbers_weak", n=5, batch=5, jax=False, note="numbers that Keras makes tensors of first")
def _(d):
    i, k = I((4, 6), name="x"), I((4,), dtype="int32", name="k")
    x = L.Dense(6)(i)
    square, small, half = x[:, :, :4], ops.cast(k * 50, "uint8"), ops.cast(i, "float16")
    image = ops.reshape(ops.sigmoid(x), (-1, 4, 2, 3))
    parts = [ops.image.gaussian_blur(image, (3, 1), (1.0, 0.7)), ops.image.hsv_to_rgb(image), ops.einsum("bii->bi", square), ops.einsum("bii->b", square), ops.einsum("bii,bjj->bij", square, i[:, :, :4]), ops.sinc(x),
             ops.bitwise_left_shift(k, k * 20 - 10), ops.bitwise_right_shift(k * -999, k * 20 - 10), ops.bitwise_right_shift(small, 2),
             ops.mod(small, 7), ops.mod(ops.cast(k - 3, "int8"), -300), ops.fmod(ops.cast(small, "uint32"), 7), ops.equal(small, 300),
             ops.less(small, -1), ops.logical_and(small, 256), ops.greater(half, 0.1), ops.arctan2(half, 0.3), ops.logaddexp(half, 0.1),
             ops.hypot(ops.cast(k, "int64"), ops.cast(k, "int64") + 2), ops.isclose(half, 0.1, 1e-4), ops.maximum(small, 7), ops.power(k, 2)]
    flat = [ops.reshape(ops.cast(p, "float32"), (-1, math.prod(p.shape[1:]))) for p in parts]
    y = L.Dense(2)(ops.concatenate([ops.tanh(p * 0.01) for p in flat], axis=-1))
    return make([i, k], y, O.SGD(1e-2)), {"x": d.f(4, 6), "k": d.i(6, 4)}, d.f(2)


@case("coverage", "spectrograms", n=4, batch=4, jax=False)
def _(d):
    i = I((90, 2), name="x")
    x = L.Conv1D(2, 3, padding="same")(i)
    flat = lambda t: L.Flatten()(ops.tanh(t * 0.1))
    parts = [L.STFTSpectrogram("log", 16, 8)(x), L.STFTSpectrogram("magnitude", 12, 6, 16, window="hamming", periodic=True, padding="same")(x),
             L.STFTSpectrogram("psd", 16, 7, scaling="spectrum", expand_dims=True)(x), L.STFTSpectrogram("real", 10, 5, window=None, scaling=None)(x),
             L.STFTSpectrogram("imag", 10, 5, window="blackman")(x), L.STFTSpectrogram("stft", 8, 4, 16)(x),
             L.STFTSpectrogram("log", 8, 4, data_format="channels_first")(ops.transpose(x, (0, 2, 1))),
             L.STFTSpectrogram("real", 8, 4, data_format="channels_first", expand_dims=True)(ops.transpose(x, (0, 2, 1))),
             L.MelSpectrogram(32, 16, sampling_rate=800, num_mel_bins=6, min_freq=10.0)(x[:, :, 0]),
             L.MelSpectrogram(32, 12, 24, "hamming", 800, 5, 10.0, 300.0, power_to_db=False, mag_exp=1.0)(x[:, :, 1])]
    return make(i, L.Dense(2)(join([flat(p) for p in parts])), O.SGD(1e-3)), d.f(90, 2), d.f(2)


# ------------------------------------------------------------------ activations, initializers, regularizers, constraints

ACTIVATIONS = ("celu", "hard_shrink", "hard_silu", "hard_tanh", "leaky_relu", "log_sigmoid", "soft_shrink",
               "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "tanh_shrink")


@case("coverage", "activations", n=7, batch=3)
def _(d):
    i = I((5,))
    parts = [L.Dense(4, activation=a)(i) for a in ACTIVATIONS]
    parts += [ops.sum(L.Dense(4, activation="glu")(i), axis=-1, keepdims=True),  # Keras does not see that it halves
              L.Dense(4, activation=L.LeakyReLU(negative_slope=0.15))(i),
              L.Dense(4, activation=L.ReLU(max_value=1.0, threshold=0.1))(i), ops.threshold(L.Dense(4)(i), 0.2, -0.3)]
    return make(i, L.Dense(2)(join(parts)), O.SGD(0.02)), d.f(5), d.f(2)


@case("coverage", "parts", n=7, batch=3)
def _(d):
    i = I((5,))
    kernels = [N.Zeros(), N.Ones(), N.Constant(0.3), N.RandomUniform(seed=1), N.RandomNormal(seed=2), N.TruncatedNormal(seed=3),
               N.VarianceScaling(2.0, "fan_out", "uniform", seed=4), N.GlorotUniform(seed=5), N.GlorotNormal(seed=6),
               N.HeUniform(seed=7), N.HeNormal(seed=8), N.LecunUniform(seed=9), N.LecunNormal(seed=10), N.Orthogonal(0.7, seed=11),
               N.Identity(0.5)]
    penalties = [R.L1(0.01), R.L2(0.02), R.L1L2(0.01, 0.02), R.OrthogonalRegularizer(0.01, "columns"), None]
    limits = [K.MaxNorm(0.8), K.NonNeg(), K.UnitNorm(), K.MinMaxNorm(0.3, 0.9, rate=0.8), None, None, None]
    parts = [L.Dense(4, kernel_initializer=k, bias_initializer=N.Constant(0.1), kernel_regularizer=penalties[n % 5],
                     kernel_constraint=limits[n % 7])(i) for n, k in enumerate(kernels)]
    return make(i, L.Dense(2)(join(parts)), O.SGD(0.002)), d.f(5), d.f(2)


@case("coverage", "orthogonal_zero_column", n=7, batch=3, jax=False, note="a column that is 0 has no gradient on TensorFlow, NaN on JAX")
def _(d):
    i = I((5,))
    x = L.Dense(4, kernel_initializer=N.Constant(-0.5), kernel_regularizer=R.OrthogonalRegularizer(0.01, "columns"),
                kernel_constraint=K.NonNeg())(i)
    return make(i, L.Dense(2)(x), O.SGD(0.05)), d.f(5), d.f(2)


@case("coverage", "infinite_slope", n=9, batch=3, jax=False, note="roots of 0 behind which nothing depends on them have no gradient on TensorFlow, NaN on JAX")
def _(d):
    i = I((4,))
    h = ops.abs(L.Dense(3)(i) * np.array([0, 1, 1], "float32"))
    y = L.Concatenate()([ops.where(h > 0.1, ops.sqrt(h), h), ops.where(h > 0.1, ops.rsqrt(h), h)])
    return make(i, L.Dense(2)(y), O.SGD(0.1), "mse"), d.f(4), d.f(2)


@case("coverage", "loss_circle", n=9, batch=5)
def _(d):
    i = I((4,))
    a, b = L.UnitNormalization(name="a")(L.Dense(3)(i)), L.Dense(3, activation="tanh", name="b")(i)
    losses = {"a": LS.Circle(), "b": LS.Circle(gamma=3.0, margin=0.1, remove_diagonal=False, reduction="sum")}
    m = make(i, [a, b], O.SGD(0.01), losses, loss_weights={"a": 0.5, "b": 0.02})
    return m, d.f(4), {"a": d.i(3), "b": d.i(2)}


@case("coverage", "mask_of_another_shape", n=5, batch=3, jax=False)
def _(d):
    p, m = I((5, 3, 4), name="p"), I((5,), dtype="bool", name="m")
    x = L.Dense(4)(L.Masking()(p))
    a = L.TimeDistributed(L.MaxPooling1D(2), name="a")(x)                           # losses [N,5,1], mask [N,5,3]
    b = L.TimeDistributed(L.MaxPooling1D(2), name="b")(L.Dense(4)(p), mask=m)       # losses [N,5,1], mask [N,5]
    i = d.f(5, 3, 4)
    i[np.random.default_rng(1).integers(0, 3, i.shape[:3]) == 0] = 0
    return (make([p, m], [a, b], O.SGD(0.1), {"a": LS.MeanSquaredError(), "b": LS.MeanAbsoluteError(reduction="sum")}),
            {"p": i, "m": d.bin(5).astype(bool)}, {"a": d.f(5, 1, 4), "b": d.f(5, 1, 4)})


@case("coverage", "ctc_lengths", n=6, batch=3, jax=False, note="labels that do not fit into the steps")
def _(d):
    i, t = I((5, 3), name="x"), I((4,), dtype="int32", name="t")
    x, n = L.Dense(6)(i), t[:, 0]
    fits = ops.ctc_loss(t[:, :2], x, n % 3, 3 + n % 3, mask_index=-1)
    cut = ops.stop_gradient(ops.ctc_loss(t, x, ops.zeros_like(n) + 4, n % 2 + 2, mask_index=0))
    y = ops.stack([fits, cut * 0.01], axis=-1)
    return make([i, t], L.Dense(2)(y), O.SGD(0.01)), {"x": d.f(5, 3), "t": d.i(4, 4) + 1}, d.f(2)


# ------------------------------------------------------------------ training

def compiled(name, loss, y, metrics=(), act=None, out=3, opt=lambda: O.SGD(0.1), **kw):
    @case("coverage", name, n=13, batch=5, **kw)
    def _(d):
        i = I((4,))
        return make(i, chain(i, L.Dense(5, "tanh"), L.Dense(out, act)), opt(), loss, [m() for m in metrics] or None), d.f(4), y(d)


compiled("loss_generalized_crossentropy", LS.CategoricalGeneralizedCrossEntropy(q=0.6), lambda d: d.i(3), act="softmax")
compiled("loss_tversky", LS.Tversky(alpha=0.3, beta=0.6), lambda d: d.bin(3), act="sigmoid",
         opt=lambda: O.SGD(S.CosineDecayRestarts(0.1, 2, t_mul=1.5, m_mul=0.8, alpha=0.1)))
compiled("metrics_regression", "mse", lambda d: d.f(3, lo=0.1, hi=1), act="softplus",
         opt=lambda: O.SGD(S.InverseTimeDecay(0.1, 2, 0.5, staircase=True)),
         metrics=[M.MeanSquaredLogarithmicError, M.PearsonCorrelation, M.ConcordanceCorrelation, M.Poisson])
compiled("metrics_hinge", "hinge", lambda d: d.pm1(3), act="tanh", metrics=[M.Hinge, M.SquaredHinge])
compiled("metrics_sparse", "sparse_categorical_crossentropy", lambda d: d.i(3), act="softmax",
         metrics=[M.SparseCategoricalAccuracy,
                  lambda: M.MeanIoU(3, sparse_y_pred=False), lambda: M.IoU(3, [0, 2], sparse_y_pred=False)])
compiled("metrics_onehot", "categorical_crossentropy", lambda d: d.onehot(3), act="softmax",
         metrics=[M.CategoricalHinge, lambda: M.FBetaScore("weighted", beta=0.5, threshold=0.4), lambda: M.OneHotIoU(3, [0, 2]),
                  lambda: M.OneHotMeanIoU(3)])
compiled("metrics_binary", "binary_crossentropy", lambda d: d.bin(1), act="sigmoid", out=1,
         metrics=[M.BinaryCrossentropy, M.FalsePositives, lambda: M.TrueNegatives(0.3),
                  lambda: M.SensitivityAtSpecificity(0.5, num_thresholds=20), lambda: M.SpecificityAtSensitivity(0.4, num_thresholds=20),
                  lambda: M.PrecisionAtRecall(0.5, num_thresholds=20), lambda: M.RecallAtPrecision(0.4, num_thresholds=20)])
compiled("optimizer_schedule_free", "mse", lambda d: d.f(3), jax=False,
         note="Keras on TensorFlow takes the momentum after its update for the one before, on JAX it does not",
         opt=lambda: O.ScheduleFreeAdamW(0.05, weight_decay=0.01, warmup_steps=2))
