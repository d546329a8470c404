"""`python -m synalign_jax`: the same as `synalign`."""

import sys

from synalign_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
