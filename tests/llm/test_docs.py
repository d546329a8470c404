"""The adapter that docs/llm.md shows works, and is as short as it says."""

import re
from pathlib import Path

from fake_endpoint import ask, job
from stub_endpoint import Stub

from synalign_jax.llm.protocol import LLM

DOCS = Path(__file__).parent.parent.parent / "docs" / "llm.md"


def test_the_documented_adapter_works_under_the_driver(tmp_path: Path) -> None:
    code = re.search(r"<!-- tested.*?```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]
    body = code[code.index("class MyEndpoint") :]
    assert len(body.strip().splitlines()) <= 33
    namespace: dict = {}
    exec(code, namespace)
    with Stub(faults=0.3, only="500") as stub:
        llm = namespace["MyEndpoint"](f"{stub.url}/chat/completions")
        assert isinstance(llm, LLM)
        outcomes = ask(tmp_path / "l", llm, [job(i) for i in range(20)])
    assert all("about" in o.response.text for o in outcomes)
