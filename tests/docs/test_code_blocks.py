"""Every Python block of the README and the documentation runs, in the order of its page.

The blocks of a page share their names. What a page takes for granted (files in the working folder, arrays, an
endpoint) is made by its function in `settings.py`. A block is left out only by a visible comment before it,
`<!-- skip: next "reason" -->`, and the test below counts those.
"""

import warnings
from pathlib import Path

import pytest
from pages import PAGES, name_of
from settings import Page, prepare
from sybil import Sybil
from sybil.document import Document
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

READER = Sybil(parsers=[PythonCodeBlockParser(), SkipParser()])
WITH_CODE = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]


def _document(path: Path) -> Document:
    return READER.parse(path)


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with prepare(name_of(page), Page(tmp_path, monkeypatch)) as (names, replaced):
        text = page.read_text(encoding="utf-8")
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        copy = tmp_path / page.name
        copy.write_text(text, encoding="utf-8")
        document = _document(copy)
        document.namespace.update(names)
        ran = 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            for example in document.examples():
                example.evaluate()
                ran += 1
    assert ran


def test_every_block_of_code_is_found_and_few_are_left_out() -> None:
    skipped = 0
    for page in WITH_CODE:
        text = page.read_text(encoding="utf-8")
        found = [e for e in _document(page).examples() if e.region.start]
        assert len(found) >= text.count("```python"), name_of(page)
        skipped += text.count("<!-- skip:")
    assert skipped <= 2
