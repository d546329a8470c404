"""Wherever a cap is reached it is kept, and the rows that were bought are delivered with a report."""

from pathlib import Path

import pytest
from served import asks_for_rows, course, facts, generate, rows, run, served

from synalign_jax.pipeline.loop.course import ALL_ROWS, BUDGET

AUTO = 'form = "auto"'  # with a trial, whose four calls bring twelve rows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("budget")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNALIGN_CACHE", str(folder / "cache"))
        yield folder


def test_a_run_whose_budget_ends_on_trial_delivers_its_rows_with_a_report(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = place / "trial"
    with served() as endpoint:
        assert run(folder, endpoint.address, llm="max_requests = 1", more=AUTO) == 0
        assert len(endpoint.bodies) == 1
        said = capsys.readouterr().err
        assert "is used up" in said
        assert "the pool lacks it" in said
        assert len({row["text"] for row in rows(folder)}) == len(rows(folder, "weighted")) == 3
        assert (folder / "out" / "report.html").is_file()
        assert (course(folder)["ended"], course(folder)["caps"]["max_requests"]) == (BUDGET, 1)


@pytest.mark.slow
def test_it_goes_on_when_the_cap_is_raised(place: Path) -> None:
    folder = place / "raised"
    with served() as endpoint:
        for _ in range(2):
            assert run(folder, endpoint.address, llm="max_requests = 3", more=AUTO) == 0
            assert len(endpoint.bodies) == 3, "with the same cap it is finished"
        bought = {row["text"] for row in rows(folder)}
        assert run(folder, endpoint.address, llm="max_requests = 60", more=AUTO) == 0
        assert len({str(body) for body in endpoint.bodies}) == len(endpoint.bodies)
    made = {row["text"] for row in rows(folder)}
    assert (len(made), course(folder)["ended"]) == (12, ALL_ROWS)
    assert bought <= made


# The trial has four calls, the attributes four; of the rows asked for later three calls are not enough.
@pytest.mark.parametrize("cap", [3, 6, 10])
def test_wherever_it_ends_the_rows_that_were_bought_are_there(
    cap: int, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = place / f"cap-{cap}"
    with served() as endpoint:
        generate(folder, endpoint.address, llm=f"max_requests = {cap}", more=f"{AUTO}\nwaves = 2\nrows = 30")
        assert len(endpoint.bodies) <= cap
        paid = sum(map(asks_for_rows, endpoint.bodies))
    assert "is used up" in capsys.readouterr().err
    assert len(rows(folder)) == 3 * paid
    assert course(folder)["ended"] == BUDGET


def test_without_one_row_the_end_is_a_clear_sentence(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def nothing(_: dict) -> dict:
        return {"texts": []}

    with served(nothing) as endpoint:
        assert run(place / "none", endpoint.address, llm="max_requests = 2", more=AUTO) == 1
    said = capsys.readouterr().err
    assert "the LLM gave no usable row" in said
    assert "max_requests = 2 is used up" in said
    assert "Traceback" not in said


def test_the_trials_rows_are_kept(place: Path) -> None:
    folder = place / "kept"
    with served() as endpoint:
        generate(folder, endpoint.address, more=AUTO)
        assert len(endpoint.bodies) == 4 + 4, "a trial of four calls has all twelve rows"
    assert facts(folder, "trial")["form"] == "json"
    assert len(rows(folder)) == 12
