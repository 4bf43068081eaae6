#!/usr/bin/env python3
"""Everything that the compiler's tables declare occurs in a conformance case that the suite runs.

    coverage_test.py TFCC SOURCE_DIR

Reads the tables of layers, losses, metrics, optimizers, schedules, activations, initializers, regularizers,
constraints and operations, and the model.json, model.keras and compile_config.json of the cases. A row without a
case fails the test, except those of EXEMPT, which say why; so does a row of EXEMPT that has one.
"""
import json
import re
import sys
import zipfile
from pathlib import Path

NOT_WRITTEN = "an alias that Keras 3 never writes; unlike %s only by name"
NOT_RUN = "Keras on TensorFlow fails to run it in a graph, so that no model with it can be compared"
NOT_READ = "Keras fails to load what it writes of it; the layers of adaptive pooling are covered"
EXEMPT = {
    ("layer", "GroupedQueryAttention"): NOT_WRITTEN % "GroupQueryAttention",
    ("layer", "Model"): "a subclass has no graph in its configuration; functional models are written as Functional",
    ("activation", "hard_swish"): NOT_WRITTEN % "hard_silu",
    ("activation", "threshold"): "no activation of a configuration, which has no arguments; it builds the operation Threshold",
    ("initializer", "stft"): "it is refused",
    ("op", "Abs"): NOT_WRITTEN % "Absolute",
    ("op", "Conj"): NOT_WRITTEN % "Conjugate",
    ("op", "Corrcoef"): NOT_RUN,
    ("op", "Kron"): NOT_RUN,
    ("op", "ConvTranspose"): NOT_RUN,
    ("op", "IsIn"): NOT_RUN,
    ("op", "Inner"): NOT_RUN,
    ("op", "AdaptiveMaxPool"): NOT_READ,
    ("op", "AdaptiveAveragePool"): NOT_READ,
}

ROLES = {  # key of a configuration: what its value is
    "activation": "activation", "recurrent_activation": "activation",
    "initializer": "initializer", "regularizer": "regularizer", "constraint": "constraint",
}


def plain(name):
    """One spelling of class names and function names."""
    return name.replace("_", "").lower()


def rows_of(path, macros):
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
    return re.findall(r"^(?:%s)\(\s*([\w, ]+?)\s*,\s*[\"\w]" % macros, text, re.M)


def c_table(path, name):
    """The first strings of the rows of a table in C."""
    found = re.search(r"\b%s\[\] = \{(.*?)\};" % name, path.read_text(), re.S)
    if not found:
        sys.exit(f"{path}: no table {name}")
    body = found.group(1)
    return re.findall(r"\{\"(\w+)\"", body) or re.findall(r"\"(\w+)\"", body)


def read_tables(source):
    f = source / "frontend"
    tables = {
        "layer": rows_of(f / "layers.def", "LAYER"),
        "op": rows_of(f / "ops.def", "OP"),
        "loss": [r.split(",")[0] for r in rows_of(f / "losses.def", "LOSS")],
        "metric": rows_of(f / "metrics.def", "METRIC"),
        "optimizer": rows_of(f / "optimizers.def", "OPTIMIZER"),
        "schedule": rows_of(f / "optimizers.def", "SCHEDULE"),
        "update": rows_of(source / "passes" / "optimizers.def", "OPTIMIZER"),
        "activation": c_table(f / "activations.c", "activations"),
        "initializer": c_table(f / "initializers.c", "initializers"),
        "regularizer": c_table(f / "regularizers.c", "regularizers"),
        "constraint": c_table(f / "initializers.c", "constraints"),
        "made initializer": rows_of(source / "runtime" / "initializers.def", "INITIALIZER"),
    }
    tables = {kind: [r.split(",")[0].strip() for r in rows] for kind, rows in tables.items()}
    for kind, rows in tables.items():
        if not rows:
            sys.exit(f"no rows of kind {kind}")
    return tables


def read_aliases(source):
    """Short names of losses and metrics, as the frontend knows them."""
    found = {}
    for name in ("losses.c", "metrics.c"):
        for short, long in re.findall(r"\{\"(\w+)\", \"(\w+)\"\}", (source / "frontend" / name).read_text()):
            found[plain(short)] = plain(long)
    return found


class Seen:
    """The names that occur in configurations, by kind."""

    def __init__(self, aliases):
        self.names, self.aliases = {}, aliases

    def add(self, kind, name):
        if isinstance(name, str):
            self.names.setdefault(kind, set()).add(plain(name))

    def named(self, kind, value):
        """A name, a serialized function or a serialized object as the value of a key."""
        if isinstance(value, dict) and "class_name" in value:
            inner = value.get("config")
            inner = inner.get("name") if isinstance(inner, dict) and value["class_name"] == "function" else inner
            value = inner if value["class_name"] == "function" else value["class_name"]
        if isinstance(value, str):
            self.add(kind, value)
            self.add(kind, self.aliases.get(plain(value)))

    def walk(self, value):
        if isinstance(value, list):
            for v in value:
                self.walk(v)
        elif isinstance(value, dict):
            name = value.get("class_name")
            if isinstance(name, str) and isinstance(value.get("config"), dict):
                module = value.get("module") or ""
                self.add("op" if ".ops" in module else "schedule" if "schedules" in module or "Decay" in name else "layer", name)
            for key, v in value.items():
                kind = next((r for k, r in ROLES.items() if key == k or key.endswith("_" + k)), None)
                if kind is not None:
                    self.named(kind, v)
                self.walk(v)

    def optimizer(self, v):
        """An optimizer, and those inside it."""
        if not isinstance(v, dict):
            return self.add("optimizer", v)
        self.add("optimizer", v.get("class_name"))
        settings = v.get("config") or {}
        several = (settings.get("optimizer_map") or {}).get("config", {})
        for inner in (settings.get("inner_optimizer"), several.get("default_optimizer"), *several.get("optimizer_map", {}).values()):
            if inner is not None:
                self.optimizer(inner)

    def compiled(self, config):
        """Losses, metrics and the optimizer of a compile configuration."""
        def each(kind, v):
            if isinstance(v, list):
                for e in v:
                    each(kind, e)
            elif isinstance(v, dict) and "class_name" not in v:
                for e in v.values():
                    each(kind, e)
            else:
                self.named(kind, v)
                if kind == "metric" and isinstance(v, dict):  # a mean of a loss, as Keras 2 has it
                    settings = v.get("config")
                    self.named(kind, settings.get("fn") if isinstance(settings, dict) else None)

        each("loss", config.get("loss"))
        each("metric", config.get("metrics"))
        each("metric", config.get("weighted_metrics"))
        self.optimizer(config.get("optimizer"))


def run_categories(source):
    """Categories of the first case folder that the suite runs."""
    text = (source / "tests" / "CMakeLists.txt").read_text()
    found = re.findall(r"set\(categories\s+([^)]*)\)", text)
    if not found:
        sys.exit("tests/CMakeLists.txt: no list of categories")
    return set(" ".join(found).split()) | set(re.findall(r"--only \"(\w+?)_", text))


def read_cases(source, seen):
    here, count = source / "tests" / "conformance", 0
    run = run_categories(source)
    for folder in sorted(p for name in ("cases", "more", "coverage", "train", "models", "policies") for p in (here / name).glob("*")):
        if not (folder / "meta.json").exists():
            continue
        if folder.parent.name == "cases" and json.loads((folder / "meta.json").read_text())["category"] not in run:
            continue
        count += 1
        if (folder / "model.keras").exists():
            with zipfile.ZipFile(folder / "model.keras") as z:
                model = json.loads(z.read("config.json"))
        else:
            model = json.loads((folder / "model.json").read_text())
        compiled = model.pop("compile_config", None) or {}
        if (folder / "compile_config.json").exists():
            compiled = json.loads((folder / "compile_config.json").read_text())
        seen.walk(model)
        seen.walk(compiled)
        seen.compiled(compiled)
    return count


def main():
    source = Path(sys.argv[2])
    tables, seen = read_tables(source), Seen(read_aliases(source))
    count = read_cases(source, seen)
    seen.names["update"] = seen.names["optimizer"]
    compared = re.findall(r"(?:\bCASE\(|initializer = )\"(\w+)\"", (source / "tests" / "unit" / "runtime_random_test.c").read_text())
    seen.names["made initializer"] = {plain(n) for n in compared}
    wrong, uncovered = [], set()
    for kind, rows in tables.items():
        for row in rows:
            if plain(row) in seen.names.get(kind, ()):
                if (kind, row) in EXEMPT:
                    wrong.append(f"{kind} {row} has a case: take it off EXEMPT")
            else:
                uncovered.add((kind, row))
                if (kind, row) not in EXEMPT:
                    wrong.append(f"{kind} {row} has no case")
    for kind, row in EXEMPT:
        if row not in tables[kind]:
            wrong.append(f"{kind} {row} is in EXEMPT, but in no table")
    for line in wrong:
        print(line)
    total = sum(len(rows) for rows in tables.values())
    print(f"{count} cases, {total} rows, {total - len(uncovered)} with a case, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
