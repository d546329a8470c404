"""Every behaviour of embeddings endpoints: each text gets its own vector, or the error names the fault."""

import signal
import threading
import time
import warnings

import numpy as np
import pytest
from embedders import SOUND, Answer, Ask, endpoint, good, refusal, rows_of, vector
from synalign_adapters import embeddings
from synalign_adapters.embeddings import OpenAIEmbeddings

from synalign_jax.llm.protocol import LLMError, Misconfigured, RateLimited, ServerError

TEXTS = [f"text {i} " + "x" * (i % 5) for i in range(30)]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "_FIRST_WAIT", 0.02)


def embedder(url: str, **more) -> OpenAIEmbeddings:
    return OpenAIEmbeddings(url, model="m", api_key_env=None, batch=8, concurrency=4, **more)


@pytest.mark.parametrize("name", SOUND)
def test_every_text_gets_its_own_vector_whatever_the_server_is_like(name: str) -> None:
    with endpoint(SOUND[name]) as (url, heard), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        made = embedder(url)
        vectors = made.embed(TEXTS)
        np.testing.assert_array_equal(vectors, np.array([vector(text) for text in TEXTS], np.float32))
        assert vectors.dtype == np.float32
        before = len(heard)
        assert (made.embed(TEXTS[:4]) == vectors[:4]).all()
        if "limits" not in name:  # what was learnt is not learnt again
            # The last batch, of six, may be the first that is refused: then three at a time are learnt.
            assert len(heard) - before in ((1, 2) if "takes" in name or "large" in name else (1,))
    assert len(said) == ("encoding_format" in name or "insists" in name)
    assert len(heard) < 60  # waits are everybody's: no hammering


def test_one_text_on_which_the_server_fails_is_named() -> None:
    """Ollama: its vector is NaN, which is no JSON."""

    def behave(ask: Ask) -> Answer:
        return refusal("json: unsupported value: NaN", 500) if TEXTS[17] in ask.texts else good(ask)

    with (
        endpoint(behave) as (url, _),
        pytest.raises(ServerError, match=r"unsupported value: NaN \(text 17\)"),
    ):
        embedder(url).embed(TEXTS)


def test_one_text_that_is_refused_is_named_and_only_its_batch_is_halved() -> None:
    def behave(ask: Ask) -> Answer:
        return refusal("text is too long: 9000 tokens") if TEXTS[17] in ask.texts else good(ask)

    with endpoint(behave) as (url, heard):
        with pytest.raises(ValueError, match=r"text 17 cannot be embedded.*too long"):
            embedder(url).embed(TEXTS)
        assert len(heard) <= 4 + 2 * 4


def test_the_one_vector_of_one_text_may_come_as_it_is() -> None:
    """Bedrock."""
    with endpoint(lambda ask: Answer(200, {"embedding": vector(ask.texts[0])})) as (url, _):
        assert embedder(url).embed(TEXTS[:1]).tolist() == [np.float32(vector(TEXTS[0])).tolist()]


@pytest.mark.parametrize("texts", [6, 30])  # 30 are four batches, of which the one of six may end first
def test_a_limit_told_in_unknown_words_is_learnt_from_halves_that_are_taken(texts: int) -> None:
    def behave(ask: Ask) -> Answer:
        return refusal("E_7: nope") if len(ask.texts) > 2 else good(ask)

    with endpoint(behave) as (url, heard):
        made = embedder(url)
        made.embed(TEXTS[:texts])
        before = len(heard)
        made.embed(TEXTS[:4])
        assert len(heard) - before == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [  # of the second text
        (lambda row: row | {"embedding": [float("nan")] * 3}, "text 1 is not finite"),
        (lambda row: row | {"embedding": [0.0, 0.0, 0.0]}, "text 1 is nothing but zeros"),
        (lambda row: row | {"embedding": None}, "no embeddings"),
        (lambda row: row | {"embedding": []}, "text 1 holds no numbers"),
    ],
)
def test_vectors_that_say_nothing_are_an_error_that_names_the_text(change, words: str) -> None:
    def behave(ask: Ask) -> Answer:
        return Answer(200, {"data": [change(row) if row["index"] == 1 else row for row in rows_of(ask)]})

    with endpoint(behave) as (url, _), pytest.raises(ServerError, match=words):
        embedder(url).embed(TEXTS[:8])


def test_a_width_that_changes_between_requests_is_an_error() -> None:
    def behave(ask: Ask) -> Answer:
        wide = len(ask.heard) == 0
        return Answer(200, {"data": [r | {"embedding": r["embedding"] + [1.0] * wide} for r in rows_of(ask)]})

    with endpoint(behave) as (url, _):
        made = embedder(url)
        assert made.embed(["a"]).shape == (1, 4)
        with pytest.raises(ServerError, match="width 3, 4 before"):
            made.embed(["b"])


def test_a_wait_longer_than_total_timeout_ends_with_a_sentence() -> None:
    with endpoint(lambda ask: refusal("daily limit", 429, Retry_After="86400")) as (url, heard):
        with pytest.raises(RateLimited, match="longer than total_timeout"):
            embedder(url).embed(TEXTS)
        assert len(heard) <= 4


def test_one_wait_is_shared_by_all_requests() -> None:
    began = time.monotonic()

    def behave(ask: Ask) -> Answer:
        young = time.monotonic() - began < 0.6
        return refusal("wait", 429, Retry_After="0.6") if young and len(ask.heard) > 0 else good(ask)

    with endpoint(behave) as (url, heard):
        embedder(url).embed(TEXTS)
    assert len(heard) <= 4 + 4 + 1


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"error": {"message": "Invalid API key"}}, Misconfigured),
        (404, {"error": {"message": "The model `m` does not exist"}}, Misconfigured),
        (400, {"error": {"message": "This model does not support embeddings"}}, LLMError),
        (402, {"error": {"message": "Insufficient Balance"}}, Misconfigured),
    ],
)
def test_a_refusal_of_all_is_said_once(status: int, body: dict, kind: type[Exception]) -> None:
    with endpoint(lambda ask: Answer(status, body)) as (url, heard):
        with pytest.raises(kind) as caught:
            embedder(url).embed(TEXTS)
        assert body["error"]["message"] in str(caught.value)
        assert "text " not in str(caught.value)
        assert len(heard) <= 12


def test_a_long_wait_ends_at_once_when_it_is_interrupted() -> None:
    main = threading.get_ident()

    def behave(ask: Ask) -> Answer:
        threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)).start()
        return refusal("slow down", 429, Retry_After="600")

    start = time.monotonic()
    with endpoint(behave) as (url, _), pytest.raises(KeyboardInterrupt):
        embedder(url).embed(TEXTS[:2])
    assert time.monotonic() - start < 60
