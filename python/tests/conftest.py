"""Modules that a test needs: where CI=true a missing one is a failure and no skip."""

import importlib
import os

import pytest


def needed(name):
    """The module, or a skip of the test that needs it."""
    if os.environ.get("CI") == "true":
        return importlib.import_module(name)
    return pytest.importorskip(name)
