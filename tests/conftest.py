"""Array shapes and dtypes are checked at run time in every test."""

import os
import signal

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from jaxtyping import install_import_hook

install_import_hook(
    ["synalign_jax.core", "synalign_jax.text", "synalign_jax.evaluation"], "beartype.beartype"
)

# Started in the background, a shell has us ignore Ctrl-C, and so would every process that the tests start to
# send it to. What is handled here, and not ignored, is reset to its default in them.
signal.signal(signal.SIGINT, signal.default_int_handler)
