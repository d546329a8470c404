"""The zoo's modules, and the helpers of tests/llm, are at hand by name."""

import sys
from pathlib import Path

for folder in (Path(__file__).parent, Path(__file__).parent.parent / "llm"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
