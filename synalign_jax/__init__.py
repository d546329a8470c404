"""Synthetic text sets that are distributed like the few real examples you have.

The public names are listed, with where each comes from, in `__init__.pyi`. A name is loaded when it is first
used (PEP 562), so that importing the package, and with it `synalign --help`, needs no JAX.
"""

from typing import Any

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("synalign-jax")
    return _load(name)
