"""Makes a failing description small: every change that keeps it failing is kept, until none does."""
import copy

from fuzz_generate import base, prune, tensors_in

SIMPLE_OPTIMIZER = {"$new": "optimizers.SGD", "config": {"learning_rate": 0.1}}
SIMPLE_LOSS = {"$new": "losses.MeanSquaredError", "config": {}}


def replaced(value, old, new):
    if isinstance(value, dict):
        if value.get("$t") == old:
            return {"$t": new}
        return {k: replaced(v, old, new) for k, v in value.items()}
    if isinstance(value, list):
        return [replaced(v, old, new) for v in value]
    return value


def keep_outputs(d, kept):
    d["outputs"] = [d["outputs"][i] for i in kept]
    if d.get("train"):
        for key in ("loss", "targets", "metrics", "weighted_metrics", "loss_weights"):
            if d["train"].get(key):
                d["train"][key] = [d["train"][key][i] for i in kept]
    return d


def change(description, edit):
    d = copy.deepcopy(description)
    if edit(d) is False or not prune(d):
        return None
    return d


def cut(index, shape_of):
    """The result of node `index` becomes an input."""
    def edit(d):
        node = d["nodes"].pop(index)
        kinds = {"int32": ("int32", "int", 4), "bool": ("bool", "bool", 0), "float32": ("float32", "normal", 0)}
        results = {t for t in tensors_in([n.get("args") for n in d["nodes"]] + [n.get("kwargs") for n in d["nodes"]], set()) | set(d["outputs"])
                   if base(t) == node["id"]}
        for k, t in enumerate(sorted(results)):
            shape, dtype = shape_of(t)
            if t in d["outputs"] or dtype not in kinds:
                return False
            name = f"cut{node['id']}{k}"
            d["nodes"] = replaced(d["nodes"], t, name)
            kind = kinds[dtype]
            d["inputs"].append({"id": name, "shape": list(shape), "dtype": kind[0], "kind": kind[1], "high": kind[2]})
    return edit


def bypass(index, shape_of):
    """Uses of node `index` become uses of a tensor of the same shape among its operands."""
    def edit(d):
        node = d["nodes"].pop(index)
        for t in sorted(tensors_in([node.get("args"), node.get("kwargs")], set())):
            if shape_of(t) == shape_of(node["id"]) is not None:
                d["nodes"] = replaced(d["nodes"], node["id"], t)
                d["outputs"] = [t if o == node["id"] else o for o in d["outputs"]]
                return len(set(d["outputs"])) == len(d["outputs"])
        return False
    return edit


def drop_field(path):
    def edit(d):
        for step in path[:-1]:
            d = d[step]
        del d[path[-1]]
    return edit


def assign(*path_value):
    *path, value = path_value

    def edit(d):
        for step in path[:-1]:
            d = d[step]
        if d[path[-1]] == value:
            return False
        d[path[-1]] = value
    return edit


def fields(layer, path):
    for key in list(layer.get("config", {})):
        yield [*path, "config", key]
        value = layer["config"][key]
        if isinstance(value, dict) and "config" in value:
            yield from fields(value, [*path, "config", key])


def edits(d, shape_of):
    """Changes worth trying, the large ones first."""
    if len(d["outputs"]) > 1:
        for i in range(len(d["outputs"])):
            yield lambda e, i=i: keep_outputs(e, [i])
        for i in range(len(d["outputs"])):
            yield lambda e, i=i: keep_outputs(e, [k for k in range(len(e["outputs"])) if k != i])
    yield drop_field(["train"]) if d.get("train") else (lambda e: False)
    for i in reversed(range(len(d["nodes"]))):
        yield cut(i, shape_of)
    for i in reversed(range(len(d["nodes"]))):
        yield bypass(i, shape_of)
    if d.get("train"):
        yield assign("train", "optimizer", SIMPLE_OPTIMIZER)
        for key in ("sample_weight", "loss_weights", "weighted_metrics", "metrics"):
            if d["train"].get(key):
                yield drop_field(["train", key])
        for i in range(len(d["outputs"])):
            def simple(e, i=i):
                if e["train"]["loss"][i] == SIMPLE_LOSS:
                    return False
                e["train"]["loss"][i], e["train"]["targets"][i] = SIMPLE_LOSS, "real"
            yield simple
        for path in fields(d["train"]["optimizer"], ["train", "optimizer"]):
            yield drop_field(path)
        for i in range(len(d["outputs"])):
            for path in fields(d["train"]["loss"][i], ["train", "loss", i]):
                yield drop_field(path)
    yield assign("epochs", 1)
    for name, layer in d["layers"].items():
        for path in fields(layer, ["layers", name]):
            yield drop_field(path)
        for i, part in enumerate(layer.get("layers", [])):
            yield drop_field(["layers", name, "layers", i])
            for path in fields(part, ["layers", name, "layers", i]):
                yield drop_field(path)
        for key in layer.get("model", {}).get("layers", {}):
            for path in fields(layer["model"]["layers"][key], ["layers", name, "model", "layers", key]):
                yield drop_field(path)
    for i, node in enumerate(d["nodes"]):
        for key in list(node.get("kwargs", {})):
            yield drop_field(["nodes", i, "kwargs", key])
    for i, one in enumerate(d["inputs"]):
        if one["dtype"] == "float32":
            yield assign("inputs", i, "kind", "normal")
    yield assign("samples", 2)
    yield assign("batch", 2)


def reduce_case(description, fails, shapes, most):
    """`fails(d)` says whether a description still fails; `shapes(d)` gives shape and dtype of each tensor, by id."""
    tries, again = 0, True
    while again and tries < most:
        again = False
        known = shapes(description)
        for edit in list(edits(description, lambda t: known.get(t))):
            smaller = change(description, edit)
            if smaller is None or smaller == description:
                continue
            tries += 1
            if tries > most:
                break
            if fails(smaller):
                description, again = smaller, True
                break
    return description
