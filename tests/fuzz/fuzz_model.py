"""A description of a model, plain enough for JSON, and how Keras builds the model from it.

    {"inputs": [{"id", "shape", "dtype", "kind", "high"}],
     "layers": {name: {"class", "config"}},               nested: {"class": "Functional", "model": description}
     "nodes": [{"id", "layer" or "op", "args", "kwargs"}],
     "outputs": [id], "train": {...}}

Inside arguments and configurations {"$t": id} is a tensor, {"$a": numbers, "dtype"} an array, {"$s": [start, stop, step]} a
slice, {"$layer": class, "config"} a layer, {"$new": "losses.Huber", "config"} an object of Keras. A node with several results
has them as "id.0", "id.1".
"""
import numpy as np

WORDS = ["", "a", "bad", "Bad!", "not bad", "good, good film", "the film", "ÜBER gut", "x  y z", "film-star"]


def resolve(value, tensors=None):
    """The Python value that a value of a description stands for."""
    import keras
    if isinstance(value, list):
        return [resolve(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    if "$t" in value:
        return tensors[value["$t"]]
    if "$a" in value:
        return np.array(value["$a"], value["dtype"])
    if "$s" in value:
        return slice(*value["$s"])
    if "$dots" in value:
        return Ellipsis
    if "$tuple" in value:
        return tuple(resolve(v, tensors) for v in value["$tuple"])
    if "$layer" in value:
        return make_layer({"class": value["$layer"], "config": value["config"]}, None)
    if "$new" in value:
        found = keras
        for part in value["$new"].split("."):
            found = getattr(found, part)
        return found(**{k: resolve(v, tensors) for k, v in value.get("config", {}).items()})
    return {k: resolve(v, tensors) for k, v in value.items()}


def make_layer(layer, name):
    import keras
    named = {} if name is None else {"name": name}
    if layer["class"] == "Functional":
        inputs, outputs = connect(layer["model"], name)
        return keras.Model(inputs, outputs, **named)
    if layer["class"] == "Sequential":
        return keras.Sequential([make_layer(part, f"{name}_{i}") for i, part in enumerate(layer["layers"])], **named)
    config = {k: resolve(v) for k, v in layer["config"].items()}
    return getattr(keras.layers, layer["class"])(**{**config, **named})


def call_node(node, layer_of, tensors):
    """The results of a node, a list."""
    import keras
    args = [resolve(a, tensors) for a in node.get("args", [])]
    kwargs = {k: resolve(v, tensors) for k, v in node.get("kwargs", {}).items()}
    if "layer" in node:
        result = layer_of[node["layer"]](*args, **kwargs)
    elif node["op"] == "getitem":
        result = args[0][tuple(args[1])]
    else:
        result = keras.ops
        for part in node["op"].split("."):
            result = getattr(result, part)
        result = result(*args, **kwargs)
    return list(result) if isinstance(result, (list, tuple)) else [result]


def name_results(node, results, tensors):
    """Puts the results of a node under their names and returns these."""
    names = [node["id"]] if len(results) == 1 else [f"{node['id']}.{i}" for i in range(len(results))]
    tensors.update(zip(names, results))
    return names


def make_input(one, prefix=None):
    import keras
    return keras.Input(tuple(one["shape"]), dtype=one["dtype"], name=f"{prefix}_{one['id']}" if prefix else one["id"])


def connect(description, prefix=None):
    """Inputs and outputs of the graph, as Keras tensors."""
    tensors = {one["id"]: make_input(one, prefix) for one in description["inputs"]}
    layer_of = {name: make_layer(layer, f"{prefix}_{name}" if prefix else name)
                for name, layer in description["layers"].items()}
    for node in description["nodes"]:
        name_results(node, call_node(node, layer_of, tensors), tensors)
    inputs = [tensors[one["id"]] for one in description["inputs"]]
    return inputs, [tensors[t] for t in description["outputs"]]


def compile_arguments(train, outputs):
    """Arguments of model.compile; per-output lists become dicts by output name when there are several."""
    names = [name_of(t) for t in outputs]

    def spread(values):
        values = [resolve(v) for v in values]
        return values[0] if len(names) == 1 else dict(zip(names, values))

    arguments = {"optimizer": resolve(train["optimizer"]), "loss": spread(train["loss"])}
    for key in ("metrics", "weighted_metrics"):
        if any(train.get(key) or []):
            arguments[key] = spread(train[key])
    if train.get("loss_weights") and len(names) > 1:
        arguments["loss_weights"] = dict(zip(names, train["loss_weights"]))
    return arguments


def name_of(tensor):
    return tensor._keras_history.operation.name


def build(description):
    """The model of a description, compiled when it is trained."""
    import keras
    inputs, outputs = connect(description)
    single = len(outputs) == 1
    model = keras.Model(inputs, outputs[0] if single else outputs)
    if description.get("train"):
        model.compile(**compile_arguments(description["train"], outputs))
    return model


# ---------------------------------------------------------------- data

def random_of(description, key):
    import zlib
    return np.random.default_rng([description["seed"], zlib.crc32(key.encode())])


def input_data(description, one, n):
    r = random_of(description, one["id"])
    shape = (n, *one["shape"])
    kind = one["kind"]
    if kind == "int":
        return r.integers(one.get("low", 0), one["high"], shape).astype(one["dtype"])
    if kind == "tokens":  # a run of tokens, then zeros
        a = r.integers(1, one["high"], shape).astype(one["dtype"])
        for row in a:
            row[r.integers(1, shape[1] + 1):] = 0
        return a
    if kind == "words":
        return np.array(WORDS)[r.integers(0, len(WORDS), shape)]
    if kind == "bool":
        return r.integers(0, 2, shape).astype("bool")
    if kind == "positive":
        return r.uniform(0.3, 2.0, shape).astype("float32")
    a = r.standard_normal(shape).astype("float32")
    if kind == "padded":  # steps, then zeros
        for row in a:
            row[r.integers(1, shape[1] + 1):] = 0
    return a


def target_data(description, i, shape, kind, n):
    r = random_of(description, f"target {i}")
    k = shape[-1]
    if kind == "real":
        return r.standard_normal((n, *shape)).astype("float32")
    if kind == "positive":
        return r.uniform(0.2, 2.0, (n, *shape)).astype("float32")
    if kind == "sign":
        return (2 * r.integers(0, 2, (n, *shape)) - 1).astype("float32")
    if kind == "binary":
        return r.integers(0, 2, (n, *shape)).astype("float32")
    if kind == "onehot":
        return np.eye(k, dtype="float32")[r.integers(0, k, (n, *shape[:-1]))]
    if kind == "class":
        return r.integers(0, k, (n, *shape[:-1])).astype("int32")
    if kind == "share":
        z = np.exp(r.standard_normal((n, *shape)))
        return (z / z.sum(-1, keepdims=True)).astype("float32")
    raise ValueError(kind)


def data_of(description, model):
    """Arrays of data.npz."""
    n = description["samples"]
    several = len(description["inputs"]) > 1
    data = {(f"x.{one['id']}" if several else "x"): input_data(description, one, n) for one in description["inputs"]}
    train = description.get("train")
    if train:
        outputs = model.outputs
        for i, t in enumerate(outputs):
            key = f"y.{name_of(t)}" if len(outputs) > 1 else "y"
            data[key] = target_data(description, i, tuple(t.shape[1:]), train["targets"][i], n)
        if train.get("sample_weight"):
            data["sample_weight"] = random_of(description, "weights").uniform(0.2, 2.0, n).astype("float32")
    return data
