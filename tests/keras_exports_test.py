#!/usr/bin/env python3
"""Everything that the installed Keras exports is in the compiler's tables: supported, or refused with its reason.

    keras_exports_test.py TFCC

A new Keras shows here what is missing. A function of keras.ops is known by the operations that it makes. What cannot stand
in a model's configuration is named below, with the reason.
"""
import ast
import importlib.util
import inspect
import os
import subprocess
import sys
import textwrap

HELPERS = {"serialize", "deserialize", "get"}
BASES = {  # abstract classes and containers, which have no computation of their own
    "layers": {"InputSpec"}, "optimizers": {"Optimizer", "OptimizerMap"}, "schedules": {"LearningRateSchedule"},
    "losses": {"Loss"}, "metrics": {"Metric"}, "initializers": {"Initializer"}, "regularizers": {"Regularizer"},
    "constraints": {"Constraint"},
}
ALIASES = {  # functions and classes that Keras writes under another name
    "layers": {"Input": "InputLayer"},
    "initializers": {"IdentityInitializer": "Identity", "OrthogonalInitializer": "Orthogonal"},
}
NO_OPERATION = {  # functions of keras.ops that leave no operation in a model
    "bartlett", "blackman", "hamming", "hanning", "kaiser",         # of a Python number: they give a constant
    "empty", "eye", "identity", "ones", "zeros", "tri",             # of a shape: they give a constant
    "dtype", "ndim", "shape", "is_tensor", "convert_to_numpy",      # give no tensor of the model
    "custom_gradient", "vectorize",                                 # take a Python function and return one
}
SAME = {"abs": "absolute", "conj": "conjugate"}


def listed(tfcc, kind):
    out = subprocess.run([tfcc, "--list-" + kind], check=True, capture_output=True, text=True).stdout
    return {plain(line.split()[0]) for line in out.splitlines()}


def plain(name):
    return name.replace("_", "").lower()


def exports(module):
    return {n: v for n in dir(module) if not n.startswith("_")
            for v in [getattr(module, n)] if callable(v) and n not in HELPERS}


def operations_of(function, base):
    """The operations whose classes a function of keras.ops names, also through a function of its module."""
    found = set()
    function = inspect.unwrap(function)
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        value = function.__globals__.get(node.id) if isinstance(node, ast.Name) else None
        if inspect.isclass(value) and issubclass(value, base):
            found.add(value.__name__)
    return found


def missing_classes(keras, tfcc):
    modules = {"layers": keras.layers, "optimizers": keras.optimizers, "schedules": keras.optimizers.schedules,
               "losses": keras.losses, "metrics": keras.metrics, "activations": keras.activations,
               "initializers": keras.initializers, "regularizers": keras.regularizers, "constraints": keras.constraints}
    for kind, module in modules.items():
        known = listed(tfcc, kind)
        if kind == "metrics":
            known |= listed(tfcc, "losses")  # a function of keras.losses is a metric too
        for name, value in sorted(exports(module).items()):
            if name in BASES.get(kind, ()):
                continue
            if kind == "layers" and not inspect.isclass(value):
                continue  # functions that make a layer and call it
            own = value.__name__ if inspect.isclass(value) else name  # aliases of a class are that class
            own = ALIASES.get(kind, {}).get(name, ALIASES.get(kind, {}).get(own, own))
            if plain(own) not in known:
                yield f"keras.{kind}.{name}"


def missing_operations(keras, tfcc):
    from keras.src.ops.operation import Operation
    known = listed(tfcc, "ops")
    for module in (keras.ops, keras.ops.nn, keras.ops.numpy, keras.ops.linalg, keras.ops.image):
        for name, function in sorted(exports(module).items()):
            if name in NO_OPERATION:
                continue
            function = getattr(module, SAME.get(name, name))
            made = operations_of(function, Operation)
            if not made:
                yield f"{module.__name__}.{name}: it makes no operation that this test can see"
            for operation in sorted(made):
                if plain(operation) not in known:
                    yield f"{module.__name__}.{name}: operation {operation}"


def main():
    if importlib.util.find_spec("keras") is None or importlib.util.find_spec("tensorflow") is None:
        print("skipped: this Python has no keras with tensorflow")
        return 77
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    missing = sorted(set(missing_classes(keras, sys.argv[1])) | set(missing_operations(keras, sys.argv[1])))
    for name in missing:
        print(f"{name} is in no table")
    print(f"keras {keras.__version__}: {len(missing)} missing")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
