"""What the words of many hosts come to: whose fault it is, and which option is done without from then on."""

import asyncio

import hosts
import pytest
from coats import events
from synalign_adapters._bodies import parsed
from synalign_adapters._faults import Blame, error_for
from synalign_adapters._options.learnt import Options
from synalign_adapters._options.naming import own_words
from synalign_adapters.openai import OpenAIChat
from zoo import SCHEMA, Cage

from synalign_jax.llm.protocol import ChatRequest, ChatResponse, Message, Refused

REQUEST = ChatRequest(
    (Message("user", "Write."),), "m", 3000, 0.7, 0.95, 1, ("\n\n",), 2, True, SCHEMA, extra={"effort": "low"}
)


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("name", hosts.WORDS)
def test_the_words_of_hosts_are_understood(name: str, answered: bool) -> None:
    """Also behind answers, after which a 403 or 404 could be of the one request."""
    status, _, expected = hosts.WORDS[name]
    text = hosts.body_of(hosts.WORDS[name])
    value = parsed(text)
    error = error_for(status, value, text, {}, Blame("http://host", "m", "the key was refused", answered))
    plain, lesson = Options(), Options()
    if isinstance(error, Refused):
        sent = plain.body(REQUEST, "off", 0)
        too_long = error.why == "too_long"
        lesson = plain.after(sent, own_words(text, value), value, limit_only=too_long)
    if lesson == plain:
        why = getattr(error, "why", "") or (f"{error.retry_after:g}" if error.retry_after else "")
        assert f"{error.kind} {why}".strip() == expected
    elif lesson.most is not None:
        assert f"at most {lesson.most}" == expected
    elif lesson.format:
        assert expected == "format"
    else:
        assert lesson.without == {expected}


def test_free_text_whose_stream_has_its_mark_and_no_reason_is_whole() -> None:
    chunk = {"choices": [{"delta": {"content": "Once upon"}}]}

    async def main() -> ChatResponse:
        async with Cage(lambda visit: events(chunk)) as url:
            llm = OpenAIChat(url, api_key_env=None)
            answer = await llm.complete(ChatRequest((Message("user", "Write."),), "m"))
            await llm.aclose()
            return answer

    answer = asyncio.run(main())
    assert (answer.text, answer.choices[0].finish_reason) == ("Once upon", "stop")
