"""What the tests of whole programs share: write a model, compile it, run the program, report."""
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MODELS = ROOT / "models"


def run(*argv, cwd=None, ok=True, **how):
    p = subprocess.run([str(a) for a in argv], cwd=cwd, capture_output=True, text=True, timeout=600, **how)
    if ok and p.returncode:
        raise SystemExit(f"{' '.join(map(str, argv))}: exit {p.returncode}\n{p.stdout}{p.stderr}")
    return p


class Checks:
    """Counts checks and prints the failed ones."""

    def __init__(self):
        self.checked = self.failed = 0

    def __call__(self, condition, text):
        self.checked += 1
        if not condition:
            self.failed += 1
            print("failed:", text)

    def report(self):
        print(f"{self.checked} checks, {self.failed} failed")
        sys.exit(self.failed > 0 or self.checked == 0)


def folder():
    return tempfile.TemporaryDirectory(prefix="tfcc-test-")


def compile_model(tfcc, model, out, *options):
    run(tfcc, "compile", model, "-o", out, *options)
    return out


def read_json(path):
    return json.loads(Path(path).read_text())


def modules(*names):
    """Modules that this Python may lack: then the test is skipped."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        found = [importlib.import_module(name) for name in names]
    except ImportError as e:
        print(f"skipped: {e}")
        sys.exit(77)
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].config.threading.set_inter_op_parallelism_threads(1)
        sys.modules["tensorflow"].config.threading.set_intra_op_parallelism_threads(2)
    return found


def layer(name, class_name, config, *inbound):
    """A layer of a Functional model, called once on the layers of these names (several: as a list)."""
    tensors = [{"class_name": "__keras_tensor__", "config": {"shape": [None], "dtype": "float32", "keras_history": [n, 0, 0]}} for n in inbound]
    args = tensors if len(tensors) < 2 else [tensors]
    return {"module": "keras.layers", "class_name": class_name, "config": {"name": name, **config}, "registered_name": None, "name": name,
            "inbound_nodes": [{"args": args, "kwargs": {}}] if inbound else []}


def functional(layers, *outputs):
    """The model of these layers in model.json's form; its outputs are the layers of these names, or the last one."""
    inputs = [[each["name"], 0, 0] for each in layers if each["class_name"] == "InputLayer"]
    config = {"name": "m", "trainable": True, "layers": layers, "input_layers": inputs,
              "output_layers": [[n, 0, 0] for n in outputs or (layers[-1]["name"],)]}
    return {"module": "keras", "class_name": "Functional", "registered_name": "Functional", "config": config}


def embedding_model(rows, columns, words, units):
    """`words` numbers below `rows`, each a row of `columns`, into a Dense layer."""
    return functional([layer("x", "InputLayer", {"batch_shape": [None, words], "dtype": "int32"}),
                       layer("embedding", "Embedding", {"input_dim": rows, "output_dim": columns}, "x"),
                       layer("flatten", "Flatten", {}, "embedding"), layer("dense", "Dense", {"units": units}, "flatten")])
