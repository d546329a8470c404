"""The loop with endpoints and judges that are no good, killed in between, and looked at while it goes on."""

import itertools
import threading
from pathlib import Path

import pytest
from served import asks_for_rows, course, facts, generate, rows, run, served
from stub_server import answer

from synalign_jax.cli import main
from synalign_jax.llm.ledger import Ledger
from synalign_jax.pipeline.loop.course import ALL_ROWS, DRY
from synalign_jax.pipeline.loop.generation import Generation


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("endings")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNALIGN_CACHE", str(folder / "cache"))
        yield folder


def _judges(body: dict) -> bool:
    return "labels" in body["response_format"]["json_schema"]["schema"]["properties"]


def test_an_endpoint_that_repeats_itself_for_ever_comes_to_an_end(place: Path) -> None:
    def same(body: dict) -> dict:
        texts = ["a warm and funny film about a train", *["a long and sad story of a winter"] * 2]
        return {"texts": texts} if asks_for_rows(body) else answer(body)

    with served(same) as endpoint:
        generate(place / "same", endpoint.address, more="calls_factor = 1000")
        # Four for attributes; of four calls that are planned for a wave at most eight, in three waves in vain
        # after the first for each of two labels, and one more in flight.
        assert len(endpoint.bodies) <= 4 + 5 * 8
    assert len(rows(place / "same")) == 2
    assert course(place / "same")["ended"] == DRY
    assert facts(place / "same")["rejected"]["repeats an earlier row"] > 10


@pytest.mark.parametrize(
    ("texts", "left", "reason"),
    [
        (["label", "items", "negative"], "no usable row", "says a label or field name alone"),
        (["a warm film about a train"] * 3, "no usable second row", "repeats an earlier row"),
    ],
)
def test_rows_that_are_all_rejected_or_all_but_one_are_counted_by_reason(
    place: Path, capsys: pytest.CaptureFixture[str], texts: list[str], left: str, reason: str
) -> None:
    def echoes(body: dict) -> dict:
        return {"texts": texts} if asks_for_rows(body) else answer(body)

    kind = f"of_the_kind = {str('label' in texts).lower()}"
    with served(echoes) as endpoint:
        assert run(place / f"echoes {len(set(texts))}", endpoint.address, more=kind) == 1
    said = capsys.readouterr().err
    assert f"the LLM gave {left}" in said
    assert "dropped: " in said
    assert "rejected.parquet" in said
    assert reason in said
    assert "Traceback" not in said


def test_an_endpoint_half_of_whose_rows_are_of_use_still_gives_all_that_are_wanted(place: Path) -> None:
    numbers = itertools.count()

    def half(body: dict) -> dict:
        if not asks_for_rows(body):
            return answer(body)
        first, *_ = answer(body)["texts"]
        return {"texts": [first] if next(numbers) % 2 else ["}{"]}

    with served(half) as endpoint:
        generate(place / "half", endpoint.address)
    assert (len(rows(place / "half")), course(place / "half")["ended"]) == (12, ALL_ROWS)


def test_a_real_set_too_small_to_say_anything_goes_by_plan_and_says_so(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served() as endpoint:
        generate(place / "small", endpoint.address)
    assert "too few to say what the new ones lack: waves went by plan" in capsys.readouterr().err
    loop = course(place / "small")
    assert loop["says_nothing"] == ["negative", "positive"]
    assert {wave["distance"] for wave in loop["waves"]} == {None}


def test_status_shows_a_loop_that_is_under_way(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrived, go_on, seen = threading.Event(), threading.Event(), itertools.count()

    def slow(body: dict) -> dict:
        if asks_for_rows(body) and next(seen) >= 20:  # the trial's four, and two waves of eight
            arrived.set()
            go_on.wait(60)
        return answer(body)

    folder = place / "status"
    with served(slow) as endpoint:
        more = 'rows = 120\nwaves = 5\n[loop]\nstop = false\nsame_meaning = "off"\n[judge]\nstudent = false'
        thread = threading.Thread(
            target=generate, args=(folder, endpoint.address), kwargs={"more": more, "few_shot": 24}
        )
        thread.start()
        assert arrived.wait(60)
        capsys.readouterr()
        assert main(["status", str(folder / "out")]) == 0
        said = capsys.readouterr().out
        go_on.set()
        thread.join()
    assert "stage      generate (5 of 11 done)" in said
    assert "of 120 (negative " in said
    assert "held-out MMD²" in said
    assert "student loss" in said
    assert "noise band" in said
    assert "ended" not in said
    assert main(["status", str(folder / "out")]) == 0
    said = capsys.readouterr().out
    assert f"ended      {ALL_ROWS}" in said
    assert "rows       120 of 120" in said


def _judged(body: dict, names) -> dict:
    lines = body["messages"][0]["content"].splitlines()
    return {"labels": [names(line) for line in lines if line[:1].isdigit()]}


@pytest.mark.parametrize("kind", ["yes", "nonsense"])
def test_a_judge_that_knows_nothing_is_not_used(
    kind: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def judge(body: dict) -> object:
        assert _judges(body)
        return _judged(body, lambda _: "positive") if kind == "yes" else "I would say so, yes."

    folder = place / kind
    with served() as endpoint, served(judge) as other:
        more = f'[judge]\nllm = true\nendpoint = {{base_url = "{other.address}", model = "judge"}}'
        generate(folder, endpoint.address, more=more)
        measured = len(other.bodies)
    assert "no better than chance: it is not used" in capsys.readouterr().err
    assert len(rows(folder)) == 12
    assert facts(folder)["judge_agreement"] == (0.5 if kind == "yes" else 0.0)
    assert measured <= 2 * 3, "twelve real rows, eight a call, and twice again for what is no answer"


def test_a_judge_with_an_endpoint_of_its_own_is_paid_under_the_cap_of_the_run(place: Path) -> None:
    """The cap ends while rows are judged: what is paid for is delivered, and the cap is not passed."""
    folder = place / "paid"
    real = {}

    def judge(body: dict) -> dict:
        return _judged(body, lambda line: real.get(line.split(". ", 1)[1], "positive"))

    prices = "prices = {prompt = 1000.0, completion = 1000.0}"
    with served() as endpoint, served(judge) as other:
        generate(place / "unpaid", endpoint.address)
        real |= {row["text"]: row["label"] for row in rows(place / "unpaid", "few_shot")}
        own = f'base_url = "{other.address}", model = "judge", {prices}'
        more = f"rows = 60\n[judge]\nllm = true\nstudent = false\nendpoint = {{{own}}}"
        asked = len(endpoint.bodies)
        generate(folder, endpoint.address, llm=f"{prices}\nmax_cost = 5.0", more=more)
        assert len(endpoint.bodies) > asked
        assert other.bodies
    with Ledger(folder / "out" / "ledger.sqlite") as ledger:
        assert 0 < ledger.summary().cost <= 5.0
    assert rows(folder)
    assert course(folder)["waves"][-1]["cost"] <= 5.0


def test_killed_in_the_loop_it_ends_with_the_rows_of_an_undisturbed_one(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = "rows = 60\nwaves = 6\n[loop]\nstop = false"
    steps = {name: getattr(Generation, name) for name in ("take", "accept")}

    class Killed(BaseException):
        pass

    def until(last: int, name: str):
        def dies(self: Generation, wave: int, *outcomes: list) -> None:
            if wave == last:
                raise Killed
            steps[name](self, wave, *outcomes)

        return dies

    with served() as endpoint:
        generate(place / "undisturbed", endpoint.address, more=more, few_shot=24)
        asked = {str(body) for body in endpoint.bodies}
        for last, name in ((1, "accept"), (2, "take"), (2, "accept")):
            with monkeypatch.context() as patch:
                patch.setattr(Generation, name, until(last, name))
                with pytest.raises(Killed):
                    generate(place / "killed", endpoint.address, more=more, few_shot=24)
        generate(place / "killed", endpoint.address, more=more, few_shot=24)
        assert {str(body) for body in endpoint.bodies} == asked
    for name in ("synthetic", "rejected"):
        assert rows(place / "killed", name) == rows(place / "undisturbed", name)
    assert course(place / "killed") == course(place / "undisturbed")
