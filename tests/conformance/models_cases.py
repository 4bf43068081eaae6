"""Whole models as people write them after the examples of keras.io, at tiny widths: 20 steps of training each, with
seeded dropout, compared step by step with TensorFlow alone (its random streams are no other backend's)."""
import numpy as np
import keras
from keras import layers as L
from keras import losses as LS
from keras import metrics as M
from keras import ops
from keras import optimizers as O

from corpus import case, chain

I = keras.Input
S = O.schedules
SPARSE = LS.SparseCategoricalCrossentropy


def model(name, fmt="json", note="", n=18, batch=4):
    """Five batches, the last one smaller, four times over: 20 steps."""
    return case("models", name, n=n, batch=batch, epochs=4, jax=False, fmt=fmt, note=note)


def compiled(ins, outs, optimizer, loss, **kw):
    m = keras.Model(ins, outs)
    m.compile(optimizer, loss, **kw)
    return m


# ------------------------------------------------------------------ images

def conv_block(x, filters, seed):
    x = L.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    x = L.Activation("relu")(L.BatchNormalization(momentum=0.9)(x))
    return L.Conv2D(filters, 3, padding="same", activation="relu")(L.Dropout(0.1, seed=seed)(x))


@model("unet", n=9, batch=2, note="skips by Concatenate, one level of separable convolutions with a residual")
def _(d):
    i = I((8, 8, 3), name="image")
    a = conv_block(L.Rescaling(1 / 255)(i), 4, 1)
    b = conv_block(L.MaxPooling2D()(a), 6, 2)
    x = L.MaxPooling2D(3, strides=2, padding="same")(b)
    y = L.SeparableConv2D(6, 3, padding="same", activation="relu")(x)
    x = L.SpatialDropout2D(0.2, seed=3)(L.add([y, x]))
    x = L.Conv2DTranspose(6, 2, strides=2, padding="same")(x)
    x = conv_block(L.concatenate([x, b]), 6, 4)
    x = L.concatenate([L.UpSampling2D(interpolation="bilinear")(x), a])
    x = L.Conv2D(4, 3, padding="same", activation="relu")(x)
    m = compiled(i, L.Conv2D(3, 1, activation="softmax", name="mask")(x), O.Adam(1e-3), "sparse_categorical_crossentropy",
                 metrics=["accuracy", M.MeanIoU(3, sparse_y_pred=False)])
    return m, d.f(8, 8, 3, lo=0, hi=255), d.i(3, 8, 8)


@model("autoencoder", fmt="keras", note="denoising, a sparse code, encoder and decoder models of their own")
def _(d):
    i = I((8, 8, 1))
    x = L.Conv2D(4, 3, activation="relu", padding="same")(L.GaussianNoise(0.3, seed=7)(i))
    x = L.MaxPooling2D(2, padding="same")(x)
    x = L.Conv2D(3, 3, activation="relu", padding="same")(L.Dropout(0.2, seed=8)(x))
    encoder = keras.Model(i, L.ActivityRegularization(l1=1e-3)(L.MaxPooling2D(2, padding="same")(x)), name="encoder")
    i = I((2, 2, 3))
    x = L.Conv2DTranspose(3, 3, strides=2, activation="relu", padding="same")(i)
    x = L.Conv2DTranspose(4, 3, strides=2, activation="relu", padding="same")(x)
    decoder = keras.Model(i, L.Conv2D(1, 3, activation="sigmoid", padding="same")(x), name="decoder")
    i = I((8, 8, 1), name="noisy")
    return compiled(i, decoder(encoder(i)), "adam", "binary_crossentropy"), d.f(8, 8, 1), d.f(8, 8, 1, lo=0, hi=1)


@model("vae", note="the draw is noise on zeros; the divergence is an output whose loss is its mean")
def _(d):
    i = I((8, 8, 1))
    x = L.Conv2D(3, 3, activation="relu", strides=2, padding="same")(i)
    x = L.Conv2D(4, 3, activation="relu", strides=2, padding="same")(x)
    x = L.Dropout(0.1, seed=2)(L.Dense(6, activation="relu")(L.Flatten()(x)))
    encoder = keras.Model(i, [L.Dense(2, name="z_mean")(x), L.Dense(2, name="z_log_var")(x)], name="encoder")
    i = I((2,))
    x = L.Reshape((2, 2, 4))(L.Dense(2 * 2 * 4, activation="relu")(i))
    x = L.Conv2DTranspose(4, 3, activation="relu", strides=2, padding="same")(x)
    x = L.Conv2DTranspose(3, 3, activation="relu", strides=2, padding="same")(x)
    decoder = keras.Model(i, L.Conv2DTranspose(1, 3, activation="sigmoid", padding="same")(x), name="decoder")
    i = I((8, 8, 1))
    mean, log_var = encoder(i)
    draw = L.GaussianNoise(1.0, seed=1337, name="epsilon")(ops.zeros_like(mean))
    z = mean + ops.exp(0.5 * log_var) * draw
    kl = -0.5 * ops.sum(1 + log_var - ops.square(mean) - ops.exp(log_var), axis=1, keepdims=True)
    m = compiled(i, [decoder(z), L.Identity(name="kl")(kl)], "adam", {"decoder": "binary_crossentropy", "kl": "mae"},
                 loss_weights={"decoder": 64.0, "kl": 0.5})
    return m, d.f(8, 8, 1, lo=0, hi=1), {"decoder": d.f(8, 8, 1, lo=0, hi=1), "kl": np.zeros((d.n, 1), "float32")}


@model("siamese", fmt="keras", note="one encoder called twice, its moving averages and draws too")
def _(d):
    i = I((8, 8, 1))
    x = L.BatchNormalization()(i)
    for k, filters in enumerate((3, 4)):
        x = L.AveragePooling2D(2)(L.Conv2D(filters, 3, activation="tanh", padding="same")(x))
        x = L.Dropout(0.2, seed=20 + k)(x)
    encoder = keras.Model(i, L.Dense(4, activation="tanh")(L.BatchNormalization()(L.Flatten()(x))), name="encoder")
    a, b = I((8, 8, 1), name="left"), I((8, 8, 1), name="right")
    gap = ops.sum(ops.square(encoder(a) - encoder(b)), axis=1, keepdims=True)
    x = L.BatchNormalization()(ops.sqrt(ops.maximum(gap, keras.config.epsilon())))
    m = compiled([a, b], L.Dense(1, activation="sigmoid", name="same")(x), "rmsprop", "binary_crossentropy",
                 metrics=["accuracy", "auc"])
    return m, {"left": d.f(8, 8, 1), "right": d.f(8, 8, 1)}, d.bin(1)


@model("vit", note="patches by a strided convolution, positions by an Embedding of counted tokens, flips while training")
def _(d):
    i = I((8, 8, 3))
    x = L.RandomFlip("horizontal", seed=6)(L.Normalization(mean=[0.1, 0.0, -0.1], variance=[1.0, 0.9, 1.2])(i))
    x = L.Reshape((4, 8))(L.Conv2D(8, 4, strides=4, name="patches")(x))
    x = x + L.Embedding(4, 8, name="positions")(ops.cumsum(ops.ones_like(x[..., 0], dtype="int32"), axis=1) - 1)
    y = L.LayerNormalization(epsilon=1e-6)(x)
    x = L.Add()([L.MultiHeadAttention(2, 4, dropout=0.1, seed=30)(y, y), x])
    y = L.Dense(16, activation="gelu")(L.LayerNormalization(epsilon=1e-6)(x))
    x = L.Add()([L.Dropout(0.1, seed=50)(L.Dense(8, activation="gelu")(L.Dropout(0.1, seed=40)(y))), x])
    x = L.Dropout(0.5, seed=9)(L.Flatten()(L.LayerNormalization(epsilon=1e-6)(x)))
    x = L.Dropout(0.5, seed=10)(L.Dense(12, activation="gelu")(x))
    m = compiled(i, L.Dense(4)(x), O.AdamW(1e-3, weight_decay=1e-2), SPARSE(from_logits=True),
                 metrics=[M.SparseCategoricalAccuracy("acc"), M.SparseTopKCategoricalAccuracy(2, "top")])
    return m, d.f(8, 8, 3), d.i(4)


@model("mlp_mixer", fmt="keras", note="patches by ops.image.extract_patches, mixing over tokens between two transposes")
def _(d):
    i = I((6, 6, 3))
    x = ops.image.extract_patches(i, 2, padding="valid")
    x = L.Dense(6)(L.Reshape((9, 12))(x))
    for k in range(2):
        y = ops.transpose(L.LayerNormalization()(x), (0, 2, 1))
        y = L.Dropout(0.2, seed=60 + k)(L.Dense(9)(L.Dense(7, activation="gelu")(y)))
        x = x + L.Permute((2, 1))(y)
        x = L.Add()([x, chain(x, L.LayerNormalization(), L.Dense(8, activation="gelu"), L.Dense(6), L.Dropout(0.2, seed=70 + k))])
    x = L.Dropout(0.2, seed=80)(L.GlobalAveragePooling1D()(x))
    m = compiled(i, L.Dense(3)(x), O.AdamW(5e-3, weight_decay=1e-4, clipnorm=1.0), SPARSE(from_logits=True), metrics=["accuracy"])
    return m, d.f(6, 6, 3), d.i(3)


@model("cnn_3d", note="a schedule in steps")
def _(d):
    i = I((8, 8, 6, 1))
    x = L.Conv3D(3, 3, activation="relu", padding="same")(i)
    x = L.BatchNormalization()(L.MaxPooling3D(2)(x))
    x = L.BatchNormalization()(L.MaxPooling3D((2, 2, 1))(L.Conv3D(4, 3, activation="relu", padding="same")(x)))
    x = L.Dense(5, activation="relu")(L.GlobalAveragePooling3D()(x))
    m = compiled(i, L.Dense(1, activation="sigmoid")(L.Dropout(0.3, seed=90)(x)),
                 O.Adam(S.ExponentialDecay(1e-3, 7, 0.96, staircase=True)), "binary_crossentropy", metrics=["acc"])
    return m, d.f(8, 8, 6, 1), d.bin(1)


# ------------------------------------------------------------------ sequences

@model("two_tower", note="ids and words to embeddings, cosine and bias; ratings")
def _(d):
    user, item = I((1,), name="user", dtype="int32"), I((1,), name="item", dtype="string")
    genre = I((3,), name="genre", dtype="int32")
    users = L.Embedding(12, 4, embeddings_initializer="he_normal", embeddings_regularizer=keras.regularizers.L2(1e-3))(user)
    users = L.Flatten()(users)
    users = L.Dense(4)(L.Dropout(0.2, seed=3)(L.Dense(6, activation="relu")(users)))
    ids = L.StringLookup(vocabulary=["alien", "brazil", "casablanca", "dune"])(item)
    items = L.Flatten()(L.Embedding(5, 4, embeddings_constraint=keras.constraints.MaxNorm(1.0))(ids))
    genres = L.GlobalAveragePooling1D()(L.Embedding(6, 3, mask_zero=True)(genre))
    items = L.Dense(4)(L.Dropout(0.2, seed=4)(L.concatenate([items, genres])))
    score = L.Dot(axes=1, normalize=True)([users, items]) + L.Flatten()(L.Embedding(5, 1, name="item_bias")(ids))
    m = compiled([user, item, genre], L.Activation("sigmoid", name="rating")(score), O.Adam(1e-2), "mse",
                 metrics=[M.RootMeanSquaredError()])
    words = ["alien", "brazil", "casablanca", "dune", "eraserhead"]
    return m, {"user": d.i(12, 1), "item": d.words(words, 1), "genre": d.tokens(6, 3, 1)}, d.f(1, lo=0, hi=1), d.w()


@model("seq2seq", note="the encoder's states start the decoder; dropout within the cells")
def _(d):
    source, target = I((6,), name="source", dtype="int32"), I((5,), name="target", dtype="int32")
    x = L.Embedding(9, 4, mask_zero=True)(source)
    _, h, c = L.LSTM(5, return_state=True, dropout=0.2, recurrent_dropout=0.1, seed=11, name="encoder")(x)
    x = L.Dropout(0.2, seed=12)(L.Embedding(8, 4, mask_zero=True)(target))
    x, _, _ = L.LSTM(5, return_sequences=True, return_state=True, dropout=0.1, seed=13, name="decoder")(x, initial_state=[h, c])
    m = compiled([source, target], L.Dense(8, activation="softmax", name="next")(x), O.RMSprop(5e-3), "categorical_crossentropy",
                 metrics=["accuracy"], weighted_metrics=["accuracy"])
    return m, {"source": d.tokens(9, 6), "target": d.tokens(8, 5)}, d.onehot(8, 5)


@model("text_cnn", fmt="keras", note="TextVectorization adapted, convolutions of several widths side by side")
def _(d):
    words = "a the film was bad good very not fun dull long".split()
    texts = np.array([[" ".join(d.r.choice(words, d.r.integers(3, 10))).capitalize() + "!"] for _ in range(d.n)])
    vectors = L.TextVectorization(max_tokens=10, output_sequence_length=8)
    vectors.adapt(texts[:, 0])
    i = I((1,), dtype="string", name="text")
    x = L.SpatialDropout1D(0.2, seed=1)(L.Embedding(10, 5)(vectors(i)))
    parts = [L.GlobalMaxPooling1D()(L.Conv1D(4, k, activation="relu", name=f"width_{k}")(x)) for k in (2, 3, 4)]
    x = L.Dropout(0.5, seed=2)(L.Dense(6, activation="relu", kernel_regularizer="l2")(L.concatenate(parts)))
    m = compiled(i, L.Dense(2, activation="softmax")(x), "adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return m, {"text": texts}, d.i(2)


@model("gru_tagger", note="masks through two bidirectional layers to the loss")
def _(d):
    i = I((7,), dtype="int32")
    x = L.Dropout(0.1, seed=1)(L.Embedding(12, 5, mask_zero=True)(i))
    x = L.Bidirectional(L.GRU(4, return_sequences=True, dropout=0.2, seed=2))(x)
    x = L.Bidirectional(L.GRU(3, return_sequences=True, reset_after=False), merge_mode="sum")(L.LayerNormalization()(x))
    m = compiled(i, L.TimeDistributed(L.Dense(4, activation="softmax"))(L.Dropout(0.3, seed=3)(x)), O.Adam(1e-2),
                 "sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics=["accuracy"])
    return m, d.tokens(12, 7), d.i(4, 7)


@model("gpt", fmt="keras", note="one matrix embeds tokens and gives logits; causal attention; warm-up and cosine")
def _(d):
    i = I((6,), dtype="int32")
    embed = L.ReversibleEmbedding(11, 8, name="tokens")
    x = embed(i) + L.Embedding(6, 8, name="positions")(ops.cumsum(ops.ones_like(i), axis=1) - 1)
    x = L.Dropout(0.1, seed=1)(x)
    for k in range(2):
        y = L.LayerNormalization(epsilon=1e-5)(x)
        x = x + L.Dropout(0.1, seed=2 + k)(L.MultiHeadAttention(2, 4, dropout=0.1, seed=4 + k)(y, y, use_causal_mask=True))
        y = L.Dense(16, activation=keras.activations.gelu)(L.LayerNormalization(epsilon=1e-5)(x))
        x = x + L.Dropout(0.1, seed=6 + k)(L.Dense(8)(y))
    logits = embed(L.LayerNormalization(epsilon=1e-5)(x), reverse=True)
    m = compiled(i, L.Activation("linear", dtype="float32", name="logits")(logits),
                 O.AdamW(S.CosineDecay(0.0, 15, warmup_target=5e-3, warmup_steps=5), weight_decay=0.01, global_clipnorm=1.0,
                         beta_2=0.95), SPARSE(from_logits=True), metrics=["accuracy"])
    text = d.i(11, 7)
    return m, text[:, :-1], text[:, 1:]


@model("wavenet", note="dilated causal convolutions, gates and skips")
def _(d):
    i = I((12, 1))
    x, skips = L.Conv1D(4, 2, padding="causal")(i), []
    for k, dilation in enumerate((1, 2, 4)):
        filtered = L.Conv1D(4, 2, padding="causal", dilation_rate=dilation, activation="tanh")(x)
        gated = L.multiply([filtered, ops.sigmoid(L.Conv1D(4, 2, padding="causal", dilation_rate=dilation)(x))])
        gated = L.SpatialDropout1D(0.1, seed=k)(gated)
        skips.append(L.Conv1D(5, 1)(gated))
        x = L.add([x, L.Conv1D(4, 1)(gated)])
    x = L.Conv1D(6, 1, activation="relu")(L.Dropout(0.2, seed=9)(ops.relu(L.add(skips))))
    m = compiled(i, L.Conv1D(8, 1, activation="softmax")(x), O.Adam(2e-3, amsgrad=True), "sparse_categorical_crossentropy",
                 metrics=["accuracy"])
    return m, d.f(12, 1), d.i(8, 12)
