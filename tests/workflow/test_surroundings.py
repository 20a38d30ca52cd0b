"""What a user's machine may be like: another locale, other settings of matplotlib, another home; results are the same."""

import ast
import hashlib
import os
import shutil
import subprocess
import sys

import pytest

from cxr.runtime import seals

FIGURES = """
import hashlib, locale, sys
import numpy as np, pandas as pd
from cxr.report.figures import curves, xrays
history = pd.DataFrame({"epoch": [1, 2], "step": [1, 2], "train_loss": [1, 0.5], "validation_loss": [1.0, 0.6]})
overlay = xrays.prediction_overlay(
    np.full((64, 64), 90, np.uint8), window=(0, 0, 1, 1), boxes=[("Mass", 0.5, 0, 0, 512, 512)],
    cells=np.full((16, 16), 0.3), thresholds=(0.1, 0.2), findings=[("Mass", 0.5)],
    title="R\\u00f6ntgen $x^{2$ {b} 100 %.png", notes=["\\u201ca\\u201d \\u2013 $b"],
)
picture = curves.learning_curves(history, [[curves.Panel("loss", "Loss", 0.7, 0.8)]], [1])
print(hashlib.sha256(picture + overlay).hexdigest(), locale.getpreferredencoding(False))
"""


def figures(repository, **environment):
    done = subprocess.run(
        [sys.executable, "-c", FIGURES],
        env={**os.environ, "PYTHONPATH": str(repository / "workflow"), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    digest, encoding = done.stdout.split()
    return digest, encoding


def test_figures_depend_on_our_style_alone(repository, tmp_path):
    plain, _ = figures(repository)
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: 30\naxes.facecolor: red\nsavefig.dpi: 30\n")
    assert figures(repository, MPLCONFIGDIR=str(tmp_path))[0] == plain


@pytest.fixture(scope="session")
def latin_1(tmp_path_factory):
    """An environment in whose locale a text is Latin-1."""
    if shutil.which("localedef") is None:
        pytest.skip("no localedef on this machine")
    folder = tmp_path_factory.mktemp("locales")
    made = subprocess.run(["localedef", "-i", "en_US", "-f", "ISO-8859-1", folder / "en_US.ISO-8859-1"], check=False)
    if made.returncode > 1:
        pytest.skip("localedef has no en_US here")
    return {"LOCPATH": str(folder), "LC_ALL": "en_US.ISO-8859-1", "LANG": "en_US.ISO-8859-1", "PYTHONUTF8": "0"}


def test_figures_are_the_same_in_a_latin_1_locale(repository, latin_1):
    digest, encoding = figures(repository, **latin_1)
    assert encoding.upper().replace("_", "-") == "ISO-8859-1"
    assert digest == figures(repository)[0]


def test_texts_are_read_and_written_as_utf_8(repository):
    """Whatever the locale: no call in the workflow leaves a text's encoding to it."""
    ours = {
        "tables",
        "Image",
        "os",
        "tarfile",
        "whole",
        "zipfile",
        "_opener(self.name)",
    }  # their functions of these names read no text so
    for path in sorted((repository / "workflow").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
            name = call.func.attr if owner else getattr(call.func, "id", "")
            named = {keyword.arg for keyword in call.keywords}
            modes = [value.value for value in call.args if isinstance(value, ast.Constant)]
            binary = any(isinstance(mode, str) and "b" in mode and len(mode) <= 4 for mode in modes)
            reads = name in ("read_text", "write_text", "open", "fdopen") and owner not in ours and not binary
            if reads and not (name == "read_text" and not owner):
                assert "encoding" in named, f"{path}:{call.lineno}"


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_report_that_cannot_be_made_leaves_the_old_one_and_in_a_latin_1_locale_it_is_the_same(
    repository, finished, latin_1
):
    page, tables = finished / "results/tiny/report.html", finished / "results/tiny/tables"
    before, numbers = page.read_bytes(), digests(tables)
    metrics = finished / "results/tiny/metrics/sound/gridcnn.csv"
    content, times = metrics.read_bytes(), metrics.stat()
    command = [sys.executable, "-m", "snakemake", "--snakefile", repository / "Snakefile", "--directory", finished]
    command += ["--cores", "1", "--configfile", repository / "tests/tiny.yaml", "--", "results/tiny/report.html"]

    def run():
        environment = {**os.environ, **latin_1}
        done = subprocess.run(
            list(map(str, command)), env=environment, cwd=repository, capture_output=True, timeout=600
        )
        return done.returncode, done.stderr.decode(errors="replace")

    metrics.write_bytes(b"no,table\n1,2\n")
    seals.write([metrics])  # else it would be made again
    code, said = run()
    metrics.write_bytes(content)
    seals.write([metrics])
    os.utime(metrics, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert code != 0 and "report" in said
    assert page.read_bytes() == before and digests(tables) == numbers, "the old one is still there"
    code, said = run()
    assert code == 0 and "rule report" in said, said[-3000:]
    assert digests(tables) == numbers
    assert page.read_bytes() == before
