"""A random description of a model (fuzz_model.py), grown node by node on live Keras: what Keras refuses is not added."""
import numpy as np

import fuzz_model
from fuzz_layers import COLORS, IMAGES, INTEGERS, LAYERS, MERGES, STRINGS, WARPS, Choice, attention_config, group_query, multi_head, recurrent, tensor, tensors_in
from fuzz_ops import random_op
from fuzz_train import random_head, random_training

MOST_ELEMENTS = 400
BATCH, SAMPLES = 7, 16  # no size of SHAPES: what fits a batch by its size alone would be a model that Keras runs for this batch only
SHAPES = [[4], [5], [3], [4, 3], [5, 2], [3, 4], [6, 3], [4, 4, 2], [5, 3, 3], [3, 5, 1], [2, 3, 4, 2]]


class Generator:
    """The description so far, and the Keras tensor of every id."""

    def __init__(self, seed, depth=0, shapes=None):
        self.choice = Choice(np.random.default_rng(seed if shapes is None else [*seed, depth]))
        self.description = {"seed": seed, "samples": SAMPLES, "batch": BATCH, "epochs": 1, "inputs": [], "layers": {}, "nodes": [], "outputs": []}
        self.tensors, self.layer_of, self.pool, self.used, self.depth, self.seed = {}, {}, [], set(), depth, seed
        self.prefix = "abc"[depth]
        for shape in shapes or []:
            self.input(shape)

    def shape(self, t):
        return tuple(self.tensors[t].shape[1:])

    def dtype(self, t):
        return self.tensors[t].dtype

    def input(self, shape, dtype="float32", kind="normal", high=0):
        one = {"id": f"{self.prefix}i{len(self.description['inputs'])}", "shape": list(shape), "dtype": dtype, "kind": kind, "high": high}
        self.tensors[one["id"]] = fuzz_model.make_input(one)
        self.description["inputs"].append(one)
        self.pool.append(one["id"])
        return one["id"]

    def node(self, node):
        """Adds a node when Keras takes it and its results are small; the ids of the results, or None."""
        node["id"] = f"{self.prefix}n{len(self.description['nodes'])}"
        try:
            results = fuzz_model.call_node(node, self.layer_of, self.tensors)
            if not all(small(r) for r in results):
                return None
        except Exception:
            return None
        self.description["nodes"].append(node)
        names = fuzz_model.name_results(node, results, self.tensors)
        self.pool += names
        self.mark_used(node)
        return names

    def mark_used(self, node):
        def walk(value):
            if isinstance(value, dict):
                if "$t" in value:
                    self.used.add(value["$t"])
                for v in value.values():
                    walk(v)
            elif isinstance(value, list):
                for v in value:
                    walk(v)
        walk([node.get("args"), node.get("kwargs")])

    def op(self, name, args, kwargs=None):
        return self.node({"op": name, "args": args, "kwargs": kwargs or {}})

    def layer(self, kind, config, args, kwargs=None, **more):
        name = f"{self.prefix}l{len(self.description['layers'])}"
        layer = {"class": kind, "config": config, **more}
        try:
            self.layer_of[name] = fuzz_model.make_layer(layer, name)
        except Exception:
            return None
        made = self.node({"layer": name, "args": args, "kwargs": kwargs or {}})
        if made is None:
            del self.layer_of[name]
        else:
            self.description["layers"][name] = layer
        return made

    # ---- kinds of nodes

    def floats(self, rank=None):
        return [t for t in self.pool if self.dtype(t) == "float32" and self.shape(t) and (rank is None or len(self.shape(t)) == rank)]

    def recent(self, found):
        """One of the tensors, rather a late one."""
        c = self.choice
        return found[-1 - min(len(found) - 1, int(c.r.exponential(1.5)))]

    def add_layer(self):
        c = self.choice
        found = self.floats()
        if not found:
            return None
        t = self.recent(found)
        s = self.shape(t)
        kind, _, config = c.one([row for row in LAYERS if len(s) in row[1]])
        return self.layer(kind, config(c, s), [tensor(t)])

    def add_merge(self):
        c = self.choice
        found = self.floats()
        if not found:
            return None
        t = self.recent(found)
        if c.chance(0.3):
            like = [u for u in found if len(self.shape(u)) == len(self.shape(t))]
            return self.layer("Concatenate", {"axis": c.one([-1, 1])}, [[tensor(t), tensor(c.one(like))]])
        same = [u for u in found if self.shape(u) == self.shape(t)]
        if c.chance(0.15):
            return self.layer("Dot", {"axes": c.one([-1, 1, {"$tuple": [1, -1]}]), "normalize": c.chance(0.3)}, [[tensor(t), tensor(c.one(same))]])
        kind, config = c.one(MERGES)
        count = 2 if kind == "Subtract" else c.int(2, 3)
        return self.layer(kind, config(c, None), [[tensor(t)] + [tensor(c.one(same)) for _ in range(count - 1)]])

    def add_attention(self):
        c = self.choice
        found = self.floats(2)
        if not found:
            return None
        q = self.recent(found)
        kind = c.one(["MultiHeadAttention", "Attention", "AdditiveAttention", "GroupQueryAttention"])
        v = c.one([u for u in found if kind == "MultiHeadAttention" or self.shape(u)[-1] == self.shape(q)[-1]])
        kwargs = {"use_causal_mask": True} if c.chance(0.3) else {}
        if kind == "MultiHeadAttention":
            return self.layer(kind, multi_head(c, self.shape(q)), [tensor(q), tensor(v)], kwargs)
        if kind == "GroupQueryAttention":
            return self.layer(kind, group_query(c, self.shape(q)), [tensor(q), tensor(v)], kwargs)
        config = attention_config(c, self.shape(q))
        if kind == "AdditiveAttention":
            config.pop("score_mode", None)
        return self.layer(kind, config, [[tensor(q), tensor(v)]], kwargs)

    def add_shared(self):
        c = self.choice
        if not self.description["layers"]:
            return None
        name = c.one(list(self.description["layers"]))
        first = next(n for n in self.description["nodes"] if n.get("layer") == name)
        if len(first["args"]) != 1 or not isinstance(first["args"][0], dict):
            return None
        shape = self.shape(first["args"][0]["$t"])
        same = [t for t in self.floats() if self.shape(t) == shape]
        return same and self.node({"layer": name, "args": [tensor(c.one(same))], "kwargs": {}})

    def add_embedding(self):
        c = self.choice
        ints = [i for i in self.description["inputs"] if i["kind"] in ("int", "tokens") and len(i["shape"]) < 3]
        if not ints:
            return None
        one = c.one(ints)
        return self.layer("Embedding", {"input_dim": one["high"], "output_dim": c.int(1, 4), "mask_zero": c.chance(0.6), **c.weights("embeddings")}, [tensor(one["id"])])

    def add_integers(self):
        c = self.choice
        ints = [i for i in self.description["inputs"] if i["kind"] in ("int", "tokens")]
        if not ints:
            return None
        one = c.one(ints)
        kind, config = c.one(INTEGERS)
        return self.layer(kind, config(c, one["high"]), [tensor(one["id"])])

    def add_strings(self):
        c = self.choice
        words = [i for i in self.description["inputs"] if i["kind"] == "words"]
        if not words:
            return None
        one = c.one(words)
        kind, _, config = c.one([row for row in STRINGS if one["shape"][-1] in row[1]])
        made = self.layer(kind, config(c, one["shape"]), [tensor(one["id"])])
        if made and self.dtype(made[0]) == "float32":  # so Keras says, but some of these give int64
            return self.op("cast", [tensor(made[0]), "float32"])
        if not made:
            return None
        return self.layer("Embedding", {"input_dim": 12, "output_dim": c.int(1, 4), "mask_zero": c.chance(0.5)}, [tensor(made[0])])

    def add_augmentation(self):
        c = self.choice
        found = self.floats(3)
        if not found:
            return None
        t = self.recent(found)
        kind, config = c.one(IMAGES + (2 * COLORS if self.shape(t)[-1] == 3 else []))
        made = self.layer("Activation", {"activation": "sigmoid"}, [tensor(t)])
        if made and kind in WARPS:
            made = self.op("stop_gradient", [tensor(made[0])])
        return made and self.layer(kind, config(c, self.shape(t)), [tensor(made[0])])

    def add_recurrent(self):
        """With a mask and first states that are tensors."""
        c = self.choice
        found = self.floats(2)
        if not found:
            return None
        t, kind, kwargs = self.recent(found), c.one(["LSTM", "GRU", "SimpleRNN"]), {}
        config = recurrent(kind)(c, self.shape(t))
        states = self.floats(1)
        if states and c.chance(0.6):
            first = c.one(states)
            config["units"] = self.shape(first)[0]
            same = [u for u in states if self.shape(u) == self.shape(first)]
            kwargs["initial_state"] = [tensor(first), tensor(c.one(same))] if kind == "LSTM" else [tensor(first)]
        masks = [u for u in self.pool if self.dtype(u) == "bool" and self.shape(u) == self.shape(t)[:1]]
        if not masks and c.chance(0.7):
            masks = self.op("any", [tensor(self.op("greater", [tensor(t), c.real(-0.5, 1)])[0])], {"axis": -1})
        if masks and c.chance(0.8):
            kwargs["mask"] = tensor(c.one(masks))
        return self.layer(kind, config, [tensor(t)], kwargs)

    def add_nested(self):
        c = self.choice
        found = [t for t in self.floats() if len(self.shape(t)) < 4]
        if self.depth or not found:
            return None
        t = c.one(found)
        if c.chance(0.5):
            parts, s = [], self.shape(t)
            for _ in range(c.int(1, 3)):
                kind, _, config = c.one([row for row in LAYERS if len(s) in row[1]])
                parts.append({"class": kind, "config": config(c, s)})
            return self.layer("Sequential", {}, [tensor(t)], layers=parts)
        ids = [t] + ([c.one(found)] if c.chance(0.3) else [])
        inner = Generator([self.seed, len(self.description["nodes"])], self.depth + 1, [self.shape(u) for u in ids])
        inner.grow(c.int(1, 4))
        if not inner.finish_nested():
            return None
        arguments = [tensor(u) for u in ids]
        return self.layer("Functional", {}, arguments if len(ids) == 1 else [arguments], model=inner.description)

    def grow(self, count):
        c = self.choice
        steps = [self.add_layer] * 10 + [random_op.__get__(self)] * 6 + [self.add_merge] * 3 + [self.add_attention, self.add_shared, self.add_embedding, self.add_nested,
                                                                                                      self.add_recurrent, self.add_integers]
        if any(i["kind"] == "words" for i in self.description["inputs"]):
            steps += [self.add_strings] * 10
        if c.chance(0.2):
            steps += [self.add_augmentation] * 4
        done = 0
        for _ in range(6 * count):
            if done >= count:
                break
            done += bool(c.one(steps)())
        return done

    def leaves(self):
        return [t for t in self.pool if t not in self.used and not any(t == i["id"] for i in self.description["inputs"])]

    def finish_nested(self):
        leaves = [t for t in self.leaves() if self.dtype(t) == "float32" and self.shape(t)]
        self.description["outputs"] = leaves[-2:]
        return leaves and self.prune()

    def prune(self):
        """Drops what no output needs; false when an output needs no input."""
        return prune(self.description)

    def finish(self):
        """Outputs and training."""
        c, heads = self.choice, []
        late = self.leaves()[-3:]
        for i, t in enumerate(late):
            if base(t) in map(base, late[:i]):  # outputs of one layer have one name, and losses are told by name
                continue
            if self.dtype(t) != "float32":
                made = self.op("cast", [tensor(t), "float32"])
                if not made:
                    continue
                t = made[0]
            if self.shape(t) and len(self.shape(t)) > 1 and c.chance(0.4):
                made = self.layer("Flatten", {}, [tensor(t)])
                t = made[0] if made else t
            if self.shape(t) and c.chance(0.5):
                made = self.layer("Dense", {"units": c.int(1, 4)}, [tensor(t)])
                t = made[0] if made else t
            head = random_head(self, t)
            if head:
                heads.append(head)
        self.description["outputs"] = [h[0] for h in heads]
        if not heads or not prune(self.description):
            return False
        self.description["train"] = random_training(self, heads)
        self.description["epochs"] = c.one([1, 1, 2])
        if len(heads) > 1:  # Keras counts a small last batch like the others in losses of single outputs
            self.description["samples"] = 2 * BATCH
        return True


def small(result):
    shape = getattr(result, "shape", None)
    return shape is not None and len(shape) <= 6 and all(d is not None and d > 0 for d in shape[1:]) and int(np.prod(shape[1:])) <= MOST_ELEMENTS


def base(t):
    return t.split(".")[0]


def prune(description):
    """Drops nodes, layers and inputs that no output needs; false when nothing is left to compute."""
    needed = {base(t) for t in description["outputs"]}
    nodes = []
    for node in reversed(description["nodes"]):
        if node["id"] in needed:
            nodes.insert(0, node)
            needed |= {base(t) for t in tensors_in([node.get("args"), node.get("kwargs")], set())}
    description["nodes"] = nodes
    description["inputs"] = [i for i in description["inputs"] if i["id"] in needed]
    kept = {n["layer"] for n in nodes if "layer" in n}
    description["layers"] = {name: layer for name, layer in description["layers"].items() if name in kept}
    return bool(nodes) and bool(description["inputs"])


def generate(seed):
    """A description, or None when this seed leads nowhere."""
    g = Generator(seed)
    c = g.choice
    for _ in range(c.one([1, 1, 2, 3])):
        kind = c.one(["normal"] * 6 + ["positive", "padded", "int", "tokens", "bool", "words"])
        if kind in ("int", "tokens"):
            g.input(c.one([[4], [5], [3]]), "int32", kind, c.int(4, 9))
        elif kind == "words":
            g.input(c.one([[1], [3]]), "string", kind)
        elif kind == "bool":
            g.input(c.one(SHAPES), "bool", kind)
        elif kind == "padded":
            g.input(c.one([[4, 3], [5, 2]]), "float32", kind)
        else:
            g.input(c.one(SHAPES), "float32", kind)
    if not g.grow(c.int(2, 14)):
        return None
    return g.description if g.finish() else None
