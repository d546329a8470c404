"""A few rows by the real endpoint before the whole run, and what that would cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from synalign_jax.evaluation.cleaning import readable
from synalign_jax.pipeline import preview as pipeline_preview
from synalign_jax.pipeline.preview import Facts

from .html import page
from .progress import reporter_for
from .run import Settings
from .settings import config_of
from .wiring import tools_for

_CHARACTERS = 4_000  # of a prompt or answer that are shown


@dataclass(frozen=True, repr=False)
class Preview(Facts):
    """What `preview` found: shown well in a notebook and by print."""

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _lines(self) -> Iterator[str]:
        shown = set()
        for exchange in self.exchanges:
            if exchange.what in shown:
                continue
            shown.add(exchange.what)
            label = f" ({readable(exchange.label)})" if exchange.label else ""
            yield f"--- the first prompt for {exchange.what}{label}"
            for role, content in exchange.messages:
                yield f"[{role}] {readable(content, _CHARACTERS)}"
            yield "--- its answer"
            answer = readable(exchange.answer or "", _CHARACTERS).strip()
            yield answer or f"none: {readable(exchange.error or '')}"
            yield ""
        yield "--- rows"
        for row in self.rows:
            label = f"{readable(row.label)}: " if row.label else ""
            dropped = f"   [dropped: {row.dropped}]" if row.dropped else ""
            yield f"  {label}{readable(row.text)}{dropped}"
            said = "; ".join(f"{name}: {value}" for name, value in row.attributes.items())
            yield f"      from {readable(said)}" if said else "      from no attributes"
        yield ""
        for name, value in self.facts():
            yield f"{name}: {value}"
        for note in self.notes:
            yield f"note: {note}"
        yield "\nThe whole run, judged by these answers:"
        yield str(self.whole)

    def facts(self) -> list[tuple[str, str]]:
        """The numbers of the preview itself, in words."""
        failed = [exchange for exchange in self.exchanges if exchange.error is not None]
        money = "" if self.money is None else f", cost {self.money:.4g}"
        facts = [
            ("usable", f"{self.usable:.0%} of {self.asked} rows asked for ({len(self.rows)} came)"),
            ("spent now", f"{self.spent.prompt_tokens:,} + {self.spent.completion_tokens:,} tokens{money}"),
        ]
        if failed:
            facts.append(("without a usable answer", f"{len(failed)}; {readable(failed[0].error or '')}"))
        return facts

    def _repr_html_(self) -> str:
        return page("preview", preview=self, shown=lambda text: readable(text, _CHARACTERS))


def preview(config: Settings, *, rows: int = 5, progress: bool = True) -> Preview:
    """Make a few rows with the real endpoint, and say what the whole run would cost.

    The rows are made and judged as a run makes and judges them. What was asked and answered goes on record in
    the ledger of the run's folder, so the run asks for none of it again where its requests are the same
    (those for attributes, and the trial of a form); nothing else is kept there, so that settings may change
    from one preview to the next.

    Args:
        config: as for `run`.
        rows: to be made, shared among the labels as the real rows are. A call makes several
            (`[generate] rows_per_call`), so that there are often more.
        progress: show how far it is.

    Returns:
        prompts and answers (`exchanges`), the `rows` with what a run would say to each, the `usable` share,
        what this cost (`spent`, in tokens, and `money`), and requests, tokens, cost and time of the `whole`
        run, from least to most. A notebook shows it all.

    Raises:
        What `run` raises; ConfigError where `rows` is below 1.

    Example:
        ```python
        seen = sa.preview("my.toml", rows=5)
        seen                             # prompts, attributes, rows, cost
        if seen.usable > 0.5:
            result = sa.run("my.toml")
        ```
    """
    settings = config_of(config)
    found = pipeline_preview.preview(settings, tools_for(settings, reporter_for(progress)), rows)
    return Preview(**{field.name: getattr(found, field.name) for field in dataclasses.fields(found)})
