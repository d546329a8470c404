"""Progress where there is no terminal: a line at the end of each piece of work, once."""

import pytest

from synalign_jax.pipeline.progress import Steps, Terminal


def _told(said: str) -> list[str]:
    return [line.split(",")[0].strip() for line in said.splitlines()]


def test_work_that_tells_what_it_begins_is_told_of_as_done(capsys: pytest.CaptureFixture) -> None:
    with Steps(Terminal(), "Align") as steps:
        steps("solve", 0, 2)
        steps("solve", 1, 2)
        steps("solve", 0, 1)
        steps("draw", 0, 3)
    assert _told(capsys.readouterr().err) == ["Align: solve: 2/2", "Align: solve: 1/1", "Align: draw: 3/3"]


def _fail_in(steps: Steps) -> None:
    with steps:
        steps("solve", 1, 2)
        raise ZeroDivisionError


def test_work_that_failed_is_not(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(ZeroDivisionError):
        _fail_in(Steps(Terminal(), "Align"))
    assert "2/2" not in capsys.readouterr().err


def test_the_last_line_is_not_said_twice(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synalign_jax.pipeline.progress._LINE_EVERY_S", 0.0)
    with Terminal().bar("Embedding", 2, "texts") as bar:
        bar.advance(1)
        bar.advance(1)
    assert _told(capsys.readouterr().err) == ["Embedding: 1/2 texts", "Embedding: 2/2 texts"]
