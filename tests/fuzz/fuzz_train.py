"""Random training: losses that suit the outputs, metrics, optimizers with their schedules, clipping, averages and accumulation."""
from fuzz_layers import new

# head activation (None: as it is), kind of targets, losses; heads with a last dim of at least 2 have "many"
HEADS = [
    (None, "real", False, ["MeanSquaredError", "MeanAbsoluteError", "Huber", "LogCosh", "CosineSimilarity"]),
    ("softplus", "positive", False, ["Poisson", "MeanSquaredLogarithmicError", "MeanAbsolutePercentageError", "MeanSquaredError"]),
    (None, "sign", False, ["Hinge", "SquaredHinge"]), ("sigmoid", "binary", False, ["BinaryCrossentropy", "BinaryFocalCrossentropy", "Dice", "Tversky"]),
    (None, "binary", False, ["BinaryCrossentropy!", "BinaryFocalCrossentropy!"]),
    ("softmax", "onehot", True, ["CategoricalCrossentropy", "CategoricalFocalCrossentropy", "CategoricalHinge", "Dice"]),
    (None, "onehot", True, ["CategoricalCrossentropy!", "CategoricalFocalCrossentropy!"]), ("softmax", "class", True, ["SparseCategoricalCrossentropy"]),
    (None, "class", True, ["SparseCategoricalCrossentropy!"]), ("softmax", "share", True, ["KLDivergence", "CategoricalCrossentropy"]),
]
METRICS = {
    "real": ["MeanSquaredError", "MeanAbsoluteError", "RootMeanSquaredError", "CosineSimilarity", "LogCoshError", "R2Score", "PearsonCorrelation", "ConcordanceCorrelation"],
    "positive": ["MeanSquaredError", "MeanAbsolutePercentageError", "MeanSquaredLogarithmicError", "Poisson"], "sign": ["Hinge", "SquaredHinge", "MeanSquaredError"],
    "binary": ["BinaryAccuracy", "BinaryCrossentropy", "AUC", "Precision", "Recall", "TruePositives", "FalseNegatives", "PrecisionAtRecall", "SensitivityAtSpecificity"],
    "onehot": ["CategoricalAccuracy", "CategoricalCrossentropy", "TopKCategoricalAccuracy", "AUC", "Precision", "F1Score", "FBetaScore"],
    "class": ["SparseCategoricalAccuracy", "SparseCategoricalCrossentropy", "SparseTopKCategoricalAccuracy"], "share": ["KLDivergence", "CategoricalCrossentropy", "CategoricalAccuracy"],
}
TWO_DIMENSIONS = {"F1Score", "FBetaScore", "R2Score"}
PROBABILITIES = {"AUC", "Precision", "Recall", "TruePositives", "FalseNegatives", "PrecisionAtRecall", "SensitivityAtSpecificity", "BinaryCrossentropy", "KLDivergence",
                 "CategoricalCrossentropy", "SparseCategoricalCrossentropy"}
NEEDED = {"PrecisionAtRecall": {"recall": 0.5}, "SensitivityAtSpecificity": {"specificity": 0.5}, "TopKCategoricalAccuracy": {"k": 2},
          "SparseTopKCategoricalAccuracy": {"k": 2}, "F1Score": {"average": "macro"}, "FBetaScore": {"average": "micro", "beta": 2.0}}


def random_loss(c, name):
    logits = name.endswith("!")
    name = name.rstrip("!")
    config = {"from_logits": True} if logits else {}
    if "rossentropy" in name and "Sparse" not in name and c.chance(0.3):
        config["label_smoothing"] = c.real(0.05, 0.3)
    if "Focal" in name and c.chance(0.5):
        config.update(gamma=c.real(1.0, 3.0), alpha=c.real(0.1, 0.6))
    if name == "Huber" and c.chance(0.5):
        config["delta"] = c.real(0.3, 2)
    if c.chance(0.15):
        config["reduction"] = c.one(["sum", "mean_with_sample_weight"])
    if name in ("Dice", "Tversky") and config.get("reduction") == "sum":  # a program cannot see that no weights were given
        del config["reduction"]
    return new("losses." + name, **config)


def random_metrics(c, kind, shape, activation):
    found = []
    for _ in range(c.int(0, 2)):
        name = c.one(METRICS[kind])
        if any(f"metrics.{name}" == m["$new"] for m in found) or (name in TWO_DIMENSIONS and len(shape) != 1):
            continue
        if name in PROBABILITIES and activation is None or name == "TopKCategoricalAccuracy" and len(shape) != 1:
            continue
        found.append(new("metrics." + name, **NEEDED.get(name, {})))
    return found


def schedule(c):
    rate = c.real(0.005, 0.05)
    return c.one([new("optimizers.schedules.ExponentialDecay", initial_learning_rate=rate, decay_steps=2, decay_rate=0.8, staircase=c.chance(0.5)),
                  new("optimizers.schedules.CosineDecay", initial_learning_rate=rate, decay_steps=5, alpha=0.1, **({"warmup_target": 0.05, "warmup_steps": 2} if c.chance(0.5) else {})),
                  new("optimizers.schedules.PiecewiseConstantDecay", boundaries=[1, 3], values=[rate, rate / 2, rate / 4]),
                  new("optimizers.schedules.InverseTimeDecay", initial_learning_rate=rate, decay_steps=2, decay_rate=0.5, staircase=c.chance(0.5)),
                  new("optimizers.schedules.PolynomialDecay", initial_learning_rate=rate, decay_steps=4, end_learning_rate=0.001, power=c.one([1.0, 2.0]), cycle=c.chance(0.5)),
                  new("optimizers.schedules.CosineDecayRestarts", initial_learning_rate=rate, first_decay_steps=2, t_mul=1.5, m_mul=0.8)])


OWN = {
    "SGD": lambda c: c.some({"momentum": c.real(0.1, 0.95), "nesterov": True}), "RMSprop": lambda c: c.some({"rho": 0.8, "momentum": 0.5, "centered": True, "epsilon": 0.01}),
    "Adam": lambda c: c.some({"beta_1": 0.8, "beta_2": 0.95, "epsilon": 0.01, "amsgrad": True}), "AdamW": lambda c: c.some({"beta_1": 0.8, "epsilon": 0.01, "amsgrad": True}),
    "Adamax": lambda c: c.some({"beta_1": 0.8, "epsilon": 0.01}), "Nadam": lambda c: c.some({"beta_1": 0.8, "epsilon": 0.01}), "Adagrad": lambda c: c.some({"initial_accumulator_value": 0.3}),
    "Adadelta": lambda c: c.some({"rho": 0.8, "epsilon": 0.01}), "Ftrl": lambda c: c.some({"l1_regularization_strength": 0.01, "l2_regularization_strength": 0.02, "beta": 0.1}),
    "Lion": lambda c: c.some({"beta_1": 0.8}), "Lamb": lambda c: c.some({"beta_1": 0.8, "epsilon": 0.01}), "Adafactor": lambda c: c.some({"relative_step": False}),
}


def random_optimizer(c):
    name = c.one(list(OWN) + ["SGD"] * 6 + ["Adam"] * 3)
    config = {"learning_rate": schedule(c) if c.chance(0.25) else c.real(0.005, 0.05), **OWN[name](c)}
    if c.chance(0.25):
        config[c.one(["clipnorm", "global_clipnorm", "clipvalue"])] = c.real(0.05, 1)
    if c.chance(0.15):
        config["weight_decay"] = c.real(0.001, 0.1)
    if c.chance(0.12):
        config.update(use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=c.one([None, 2]))
    if c.chance(0.12):
        config["gradient_accumulation_steps"] = c.int(2, 3)
    return new("optimizers." + name, **config)


def random_head(g, t):
    """An output made of tensor t that a loss can take: (id, loss, kind of targets, metrics), or None."""
    c, shape = g.choice, g.shape(t)
    activation, kind, many, losses = c.one(HEADS)
    if not shape or many and (shape[-1] < 2):
        return None
    if activation:
        made = g.layer("Activation", {"activation": activation}, [{"$t": t}])
        if not made:
            return None
        t = made[0]
    return t, random_loss(c, c.one(losses)), kind, random_metrics(c, kind, shape, activation)


def random_training(g, heads):
    c = g.choice
    train = {"optimizer": random_optimizer(c), "loss": [h[1] for h in heads], "targets": [h[2] for h in heads], "metrics": [h[3] for h in heads]}
    if c.chance(0.2):
        train["weighted_metrics"] = [random_metrics(c, h[2], g.shape(h[0]), "softmax" if h[2] in ("onehot", "class", "share") else None) for h in heads]
    if c.chance(0.3) and all(len(g.shape(h[0])) == 1 for h in heads):  # Keras takes weights of samples for rows of numbers only
        train["sample_weight"] = True
    if len(heads) > 1 and c.chance(0.4):
        train["loss_weights"] = [c.real(0.2, 2) for _ in heads]
    return train
