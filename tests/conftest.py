"""Array shapes and dtypes are checked at run time in every test."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from jaxtyping import install_import_hook

install_import_hook(["synalign_jax.core", "synalign_jax.text", "synalign_jax.evaluate"], "beartype.beartype")
