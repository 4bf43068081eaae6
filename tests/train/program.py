"""What the tests of whole programs share: compile a model, run the program, report."""
import json
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
