"""The Python of docs/python.md and of the README runs as it stands."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from conftest import needed

import evaltop

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "python.md"


def test_the_snippets_run_in_order(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S)
    assert len(blocks) == 5
    array = {"ID": "1", "MIN": "1", "MAX": "1", "COUNT": "1"}
    env = {**os.environ, **{f"SLURM_ARRAY_TASK_{name}": value for name, value in array.items()}}
    for number, block in enumerate(blocks):
        if "evaltop_record" in block:
            (tmp_path / "test_doc.py").write_text(block)
            command = [sys.executable, "-m", "pytest", "-q", "--evaltop", "my_store", "test_doc.py"]
        else:
            (tmp_path / f"block{number}.py").write_text(block)
            command = [sys.executable, f"block{number}.py"]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert evaltop.open(tmp_path / "my_store").status()["totals"]["tests"] == 103 + 50 + 24


def test_the_example_of_the_readme_runs(tmp_path):
    text = (DOCS.parents[1] / "README.md").read_text()
    block = text.split("<!-- tested: python -->\n```python\n")[1].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "opal-4" in done.stdout


def test_the_notebook_runs(tmp_path):
    nbformat, nbclient = needed("nbformat"), needed("nbclient")
    needed("ipykernel")
    notebook = nbformat.read(DOCS.with_name("tour.ipynb"), as_version=4)
    written = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    shown = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
    assert len(shown) >= len(written) - 2, "the notebook is kept as it was executed"
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    pictures = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) == 1


def test_the_recipe_for_ray_records_once(tmp_path):
    pytest.importorskip("ray")
    block = DOCS.read_text().split("<!-- ray -->\n```py\n")[1].split("```")[0]
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
    assert evaltop.open(tmp_path / "my_store").status()["totals"]["tests"] == 30
