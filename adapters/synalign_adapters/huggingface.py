"""A causal language model of transformers in this process: requests that come together share a batch."""

from __future__ import annotations

import asyncio
import inspect
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from synalign_jax.llm.protocol import ChatRequest, ChatResponse, Choice, Misconfigured, Refused, Usage

from ._options.schema import in_words

if TYPE_CHECKING:
    import torch  # pyright: ignore[reportMissingImports]


class LocalChat:
    """Satisfies `synalign_jax.llm`'s LLM; needs the torch extra.

    Each row of a batch has its own temperature, seed, stops and length, and leaves when it has ended, so an
    answer does not depend on what it was batched with beyond the rounding of the matrix products.
    JSON schemas are asked for in words; the driver checks the answers and asks again.

    Args:
        model: a name on the Hugging Face hub or a folder.
        gguf_file: the GGUF file within it, if the weights are in one.
        batch: rows that are generated together at most.
        device: a torch device; by default a GPU if there is one.
        dtype: a torch dtype's name; by default the checkpoint's own on a GPU and float32 on a CPU.

    Raises:
        Misconfigured: torch is not installed, or the model cannot be loaded or has no chat template.
    """

    def __init__(
        self,
        model: str,
        *,
        gguf_file: str | None = None,
        batch: int = 16,
        device: str | None = None,
        dtype: str | None = None,
    ) -> None:
        try:
            import torch  # pyright: ignore[reportMissingImports]
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError as error:
            raise Misconfigured(f"{error}; install synalign-jax[torch]") from None
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        kind = dtype or ("auto" if self._device.type == "cuda" else "float32")
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(model, gguf_file=gguf_file)
            loaded: Any = AutoModelForCausalLM.from_pretrained(model, gguf_file=gguf_file, dtype=kind)
        except (OSError, ValueError, ImportError) as error:
            raise Misconfigured(f"{model}: cannot be loaded: {error}") from None
        if not self._tokenizer.chat_template:
            raise Misconfigured(f"{model}: its tokenizer has no chat template; use an instruct model")
        self._model = loaded.to(self._device).eval()
        # transformers 5.24 gave it another name.
        renamed = "cache" in inspect.signature(loaded.forward).parameters
        self._cache_name = "cache" if renamed else "past_key_values"
        self._longest = int(getattr(self._model.config, "max_position_embeddings", 1 << 30))
        self._name = f"transformers:{model}" + (f"/{gguf_file}" if gguf_file else "")
        self._ends = self._end_tokens()
        self._batch = batch
        self._requests: queue.SimpleQueue[_Row | None] = queue.SimpleQueue()
        self._worker: threading.Thread | None = None

    sees_to_schema = True

    @property
    def endpoint(self) -> str:
        return self._name

    async def complete(self, request: ChatRequest) -> ChatResponse:
        prompt = self._prompt(request)
        if len(prompt) + request.max_tokens > self._longest:
            raise Refused(
                f"{len(prompt)} tokens of prompt and {request.max_tokens} of answer, but the model holds"
                f" {self._longest}"
            )
        if self._worker is None:
            self._worker = threading.Thread(target=self._serve, name="generate", daemon=True)
            self._worker.start()
        rows = [_Row(request, prompt, choice, asyncio.get_running_loop()) for choice in range(request.n)]
        for row in rows:
            self._requests.put(row)
        try:
            choices = await asyncio.gather(*(row.done for row in rows))
        except asyncio.CancelledError:
            for row in rows:
                row.cancelled = True
            raise
        made = sum(len(row.tokens) for row in rows)
        return ChatResponse(tuple(choices), Usage(len(prompt), made), request.model)

    async def aclose(self) -> None:
        if self._worker is not None:
            self._requests.put(None)
            await asyncio.to_thread(self._worker.join)
            self._worker = None

    def _end_tokens(self) -> set[int]:
        ends = getattr(self._model.generation_config, "eos_token_id", None)
        ends = ends if isinstance(ends, list) else [ends]
        return {int(end) for end in [*ends, self._tokenizer.eos_token_id] if end is not None}

    def _prompt(self, request: ChatRequest) -> list[int]:
        messages = [{"role": m.role, "content": m.content} for m in request.messages]
        if request.continues:
            return self._tokenizer("".join(m["content"] for m in messages))["input_ids"]
        if request.schema is not None:
            messages[-1]["content"] += in_words(request.schema)
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]

    # -- the generating thread -----------------------------------------------------------------------------

    def _serve(self) -> None:
        """Generate for whatever has gathered, batch after batch, until a None comes."""
        open_ = True
        while open_:
            rows = [self._requests.get()]
            while len(rows) < self._batch and rows[-1] is not None and not self._requests.empty():
                rows.append(self._requests.get())
            open_ = None not in rows
            batch = [row for row in rows if row is not None and not row.cancelled]
            try:
                if batch:
                    self._generate(batch)
            except Exception as error:  # whoever waits must hear of it, whatever it is
                for row in batch:
                    row.fail(error)

    def _generate(self, rows: list[_Row]) -> None:
        import torch  # pyright: ignore[reportMissingImports]

        width = max(len(row.prompt) for row in rows)
        tokens = torch.tensor(
            [[0] * (width - len(row.prompt)) + row.prompt for row in rows], device=self._device
        )
        mask = torch.tensor(
            [[0] * (width - len(row.prompt)) + [1] * len(row.prompt) for row in rows], device=self._device
        )
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        cache = None
        with torch.inference_mode():
            while rows:
                out = self._model(
                    input_ids=tokens,
                    attention_mask=mask,
                    position_ids=positions,
                    **{self._cache_name: cache},
                    use_cache=True,
                    logits_to_keep=1,
                )
                cache = out[self._cache_name]
                logits = out.logits[:, -1].float().cpu()
                going = [i for i, row in enumerate(rows) if not self._extend(row, logits[i])]
                if len(going) < len(rows):
                    rows = [rows[i] for i in going]
                    index = torch.tensor(going, device=self._device, dtype=torch.long)
                    if rows:
                        cache.batch_select_indices(index)
                    mask, positions = mask[index], positions[index]
                tokens = torch.tensor([[row.tokens[-1]] for row in rows], device=self._device)
                mask = torch.cat([mask, mask.new_ones((len(rows), 1))], 1)
                positions = positions[:, -1:] + 1

    def _extend(self, row: _Row, logits: torch.Tensor) -> bool:
        """Draw the row's next token; whether the row has ended, and then its answer is delivered."""
        token = row.draw(logits)
        if token in self._ends:
            row.finish(self._text(row), "stop")
            return True
        row.tokens.append(token)
        row.logprobs.append(float(logits.log_softmax(0)[token]))
        if row.request.stop:
            text = self._text(row)
            starts = [at for stop in row.request.stop if (at := text.find(stop)) >= 0]
            if starts:
                row.finish(text[: min(starts)], "stop")
                return True
        if len(row.tokens) >= row.request.max_tokens:
            row.finish(self._text(row), "length")
            return True
        return row.cancelled

    def _text(self, row: _Row) -> str:
        return self._tokenizer.decode(row.tokens, skip_special_tokens=True)


class _Row:
    """One answer in the making."""

    def __init__(
        self, request: ChatRequest, prompt: list[int], choice: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        import torch  # pyright: ignore[reportMissingImports]

        self.request, self.prompt, self.cancelled = request, prompt, False
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.done: asyncio.Future[Choice] = loop.create_future()
        self._loop = loop
        self._random = torch.Generator()
        if request.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(request.seed + choice)

    def draw(self, logits: torch.Tensor) -> int:
        """A token from (vocabulary,) logits by temperature and nucleus (Holtzman et al., 2020, sec. 3.1)."""
        import torch  # pyright: ignore[reportMissingImports]

        if self.request.temperature == 0:
            return int(logits.argmax())
        chances, order = (logits / self.request.temperature).softmax(0).sort(descending=True)
        if self.request.top_p < 1:
            chances[chances.cumsum(0) - chances > self.request.top_p] = 0
        return int(order[torch.multinomial(chances, 1, generator=self._random)])

    def finish(self, text: str, reason: str) -> None:
        choice = Choice(text, reason, tuple(self.logprobs) if self.request.logprobs else None)
        self._tell(lambda: self.done.set_result(choice))

    def fail(self, error: Exception) -> None:
        self._tell(lambda: self.done.set_exception(error))

    def _tell(self, settle: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: None if self.done.done() else settle())
