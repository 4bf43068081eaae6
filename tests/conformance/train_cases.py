"""Cases of training: optimizers that tell variables apart, metrics with lists of numbers, labels of either form, losses
without outputs, structures of outputs. All are compared with TensorFlow alone."""
import keras
from keras import layers as L
from keras import losses as LS
from keras import metrics as M
from keras import optimizers as O

from corpus import case, chain

I = keras.Input
S = O.schedules


def model(out=3, act=None):
    i = I((4,))
    return keras.Model(i, chain(i, L.Dense(5, "tanh", name="enc"), L.Dense(out, act, name="head")))


def compiled(name, y, out=3, act=None, weights=False, **kw):
    @case("train", name, n=13, batch=5, jax=False)
    def _(d):
        m = model(out, act)
        m.compile(**{k: v() if callable(v) else v for k, v in kw.items()})
        return m, d.f(4), y(d), d.w() if weights else None


compiled("muon", lambda d: d.f(3), loss="mse",
         optimizer=lambda: O.Muon(0.05, exclude_layers=[r"head/k\w+l"], adam_lr_ratio=0.5, weight_decay=0.1))
compiled("muon_plain", lambda d: d.f(3), loss="mse",
         optimizer=lambda: O.Muon(S.CosineDecay(0.05, 5), nesterov=False, ns_steps=3, adam_weight_decay=None, global_clipnorm=0.5))


def mapped():
    some = O.OptimizerMap(O.Nadam(S.ExponentialDecay(0.1, 2, 0.5), clipnorm=0.1))
    some["head/.*"] = O.SGD(0.05, momentum=0.5, gradient_accumulation_steps=2)
    some["head/bias"] = O.SGD(0.01, use_ema=True, ema_momentum=0.5)
    return O.MultiOptimizer(some)


compiled("multi_optimizer", lambda d: d.f(3), loss="mse", optimizer=mapped)

THRESHOLDS = [lambda c=c: c(thresholds=[0.3, 0.5, 0.6]) for c in (M.TruePositives, M.FalseNegatives, M.Precision, M.Recall)]
compiled("metrics_lists", lambda d: d.bin(3), act="sigmoid", loss="mse", weights=True,
         weighted_metrics=lambda: [m() for m in THRESHOLDS] + [M.F1Score(average=None, threshold=0.4), M.AUC(multi_label=True)],
         metrics=lambda: [M.FBetaScore(beta=0.5), M.R2Score(class_aggregation=None), M.Precision([0.4], top_k=2),
                          M.MeanMetricWrapper(keras.losses.huber, name="wrapped", delta=0.5), keras.losses.log_cosh])
compiled("crossentropy_indices", lambda d: d.i(4), out=4, act="softmax", loss="crossentropy", optimizer="sgd", metrics=["accuracy"])
compiled("crossentropy_rows", lambda d: d.onehot(4), out=4, act="softmax", loss="crossentropy", optimizer="sgd", metrics=["acc"])
compiled("several_labels", lambda d: d.bin(4), out=4, act="softmax", loss="categorical_crossentropy", optimizer="sgd")
compiled("focal_alphas", lambda d: d.onehot(3), act="softmax", optimizer="adam",
         loss=lambda: LS.CategoricalFocalCrossentropy(alpha=[0.1, 0.2, 0.4], gamma=1.5))


@case("train", "no_loss", n=13, batch=5, jax=False)
def _(d):
    i = I((4,))
    m = keras.Model(i, chain(i, L.Dense(3, kernel_regularizer="l2"), L.Dense(2, name="head", activity_regularizer="l1")))
    m.compile(O.SGD(0.1), metrics=["mae"])
    return m, d.f(4), d.f(2)


def heads(d):
    i = I((4,))
    return i, L.Dense(3, "sigmoid", name="a")(i), L.Dense(2, name="b")(i)


@case("train", "dict_outputs", n=13, batch=5, jax=False)
def _(d):
    i, a, b = heads(d)
    m = keras.Model(i, {"z": a, "c": b})
    m.compile(O.SGD(0.1), {"z": "bce", "c": "mae"}, loss_weights={"z": 0.5, "c": 2.0}, metrics={"z": ["mae"], "c": ["mse"]})
    return m, d.f(4), {"a": d.bin(3), "b": d.f(2)}


@case("train", "eager", n=13, batch=5, jax=False)
def _(d):
    i, a, b = heads(d)
    m = keras.Model(i, [a, b])
    m.compile(O.SGD(0.1), ["mse", "mae"], metrics={"b": "mse"}, run_eagerly=True)
    return m, d.f(4), {"a": d.bin(3), "b": d.f(2)}


@case("train", "idle_output", n=13, batch=5, jax=False)
def _(d):
    i, a, b = heads(d)
    m = keras.Model(i, [a, b])
    m.compile(O.SGD(0.1), ["mse", None])
    return m, d.f(4), {"a": d.bin(3), "b": d.f(2)}
