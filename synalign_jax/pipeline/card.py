"""A finished run or an aligned pool as a data set with a card, as `datasets.load_dataset` reads it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synalign_jax.llm.ledger import Ledger

from .data.errors import DataError
from .data.tables import read_table
from .together import Together, recover

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_SHOWN = 40  # labels and prompts that the card lists


def write_dataset(source: Path, target: Path, *, licence: str = "other", title: str | None = None) -> Path:
    """Write `aligned` and, of a run, `weighted` as Parquet in `target`, with a README.md for a card.

    Args:
        source: a run's folder, or what `synalign align` left.
        target: a folder; made if need be.
        licence: an identifier of the hub's, as "cc-by-4.0".

    Raises:
        DataError: `source` holds neither.
    """
    recover(source)
    tables = _tables(source)
    facts = _facts(source, tables)
    card = _card(facts, tables, licence, title or source.resolve().name)
    with Together() as files:
        for name, table in tables.items():
            pq.write_table(table, files.path(target / "data" / f"{name}.parquet"))
        files.path(target / "README.md").write_text(card, encoding="utf-8")
    return target


def push_dataset(
    source: Path,
    repository: str,
    target: Path,
    *,
    private: bool = True,
    licence: str = "other",
    api: Any = None,
) -> str:
    """Write the data set to `target`, and upload it to the Hugging Face hub.

    Args:
        repository: "owner/name".
        private: whether it is made for its owner alone, if it is new.
        api: an `HfApi`; None is one with the user's stored or environment's token, which is never read here.

    Returns:
        The address of the data set.

    Raises:
        DataError: a bad name, `source` holds no result, or the hub refuses.
    """
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise DataError(f"--to: '{repository}' is no name on the hub; give OWNER/NAME")
    write_dataset(source, target, licence=licence, title=repository)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    hub = api or HfApi()
    try:
        hub.create_repo(repo_id=repository, repo_type="dataset", private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            repo_type="dataset",
            folder_path=str(target),
            commit_message="Synthetic rows aligned by synalign-jax",
        )
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{repository}: the hub refused ({reason}); log in with 'hf auth login' or set HF_TOKEN."
            f" The data set itself is in {target}"
        ) from error
    return f"https://huggingface.co/datasets/{repository}"


def _tables(source: Path) -> dict[str, pa.Table]:
    if (source / "aligned.parquet").is_file():
        tables = {}
        for name in ("aligned", "weighted"):
            table = pq.read_table(source / f"{name}.parquet")
            several = pa.types.is_list(table.schema.field("label").type)
            blank = not several and set(table["label"].unique().to_pylist()) <= {""}
            tables[name] = table.drop_columns(["label"]) if blank else table
        return tables
    drawn = sorted(source.glob("resampled.*"))
    if not drawn:
        raise DataError(f"{source}: neither a finished run nor what 'synalign align' left")
    if drawn[0].suffix == ".parquet":
        return {"aligned": pq.read_table(drawn[0])}
    rows = read_table(drawn[0], text="text", label=None, embedding=None, keep_blank=True)
    records = rows.others.take(range(len(rows)))
    texts = rows.texts or [None] * len(rows)
    return {
        "aligned": pa.Table.from_pylist(
            [{"text": text, **row} for text, row in zip(texts, records, strict=True)]
        )
    }


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _labels(table: pa.Table) -> Counter[str]:
    """Rows of each label; of each of several where a row has them."""
    values = table["label"].to_pylist() if "label" in table.column_names else []
    return Counter(str(one) for value in values for one in (value if isinstance(value, list) else [value]))


def _facts(source: Path, tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    aligned = tables["aligned"]
    done = {path.stem: _json(path) for path in sorted((source / "done").glob("*.json"))}
    return {
        "config": _json(source / "config.json"),
        "alignment": _json(source / "alignment.json"),
        "evaluation": _json(source / "evaluation.json"),
        "verdict": _json(source / "mixture.json").get("verdict", ""),
        "fields": [field["column"] for field in _json(source / "fields.json").get("fields", [])],
        "stages": {name: record.get("facts", {}) for name, record in done.items()},
        "warnings": [text for record in done.values() for text in record.get("warnings", [])],
        "labels": _labels(tables["aligned"]),
        "made": _labels(tables["weighted"]) if "weighted" in tables else {},
        "models": Counter(aligned["model"].to_pylist()) if "model" in aligned.column_names else {},
        "prompts": Counter(aligned["prompt_hash"].to_pylist())
        if "prompt_hash" in aligned.column_names
        else {},
        "ledger": source / "ledger.sqlite",
    }


def _card(facts: Mapping[str, Any], tables: Mapping[str, pa.Table], licence: str, title: str) -> str:
    rows = len(tables["aligned"])
    size = next((name for limit, name in _SIZES if rows < limit), "n>1M")
    head = ["---", f"license: {_plain(licence)}", "tags:", "- synthetic", "- synalign-jax"]
    head += ["size_categories:", f"- {size}", "configs:"]
    for number, name in enumerate(tables):
        head += [f"- config_name: {name}", f"  data_files: data/{name}.parquet"] + ["  default: true"] * (
            not number
        )
    parts = [
        "\n".join([*head, "---"]),
        f"# {_plain(title)}",
        "Synthetic rows, weighted and drawn so that they are distributed like a set of real ones"
        " (SynAlign, arXiv 2502.08661) by synalign-jax.",
        "```python\nfrom datasets import load_dataset\n\n"
        f'rows = load_dataset({_plain(title)!r}, {next(iter(tables))!r}, split="train")\n```',
        "## Contents\n\n"
        + "\n".join(f"- `{name}`: {len(table):,} rows" for name, table in tables.items())
        + (f"\n- a row's fields: {', '.join(map(_plain, facts['fields']))}" if facts["fields"] else ""),
        *([_plain(facts["verdict"], 1_000)] if facts["verdict"] else []),
        *_provenance(facts),
        *_counts(facts),
        *_distances(facts),
        "## Not to be used for\n\n"
        "- Testing: scores on synthetic rows say nothing of real ones.\n"
        "- Facts: rows are invented; names, numbers and events in them are not to be relied on.\n"
        "- Conclusions about the people or texts that the real rows are from: these carry on their biases.\n"
        "- Anything that the terms of the models and of the real rows do not allow. The licence above is the"
        " uploader's statement.",
    ]
    return "\n\n".join(parts) + "\n"


def _provenance(facts: Mapping[str, Any]) -> list[str]:
    lines = []
    config, inputs = facts["config"], facts["alignment"].get("inputs", [])
    if config:
        lines.append(f"- real rows: {_plain(Path(config['data']['source']).name)}")
        lines.append(f"- seed: {config['run']['seed']}; embedded by {_plain(config['encoder']['model'])}")
    for side in inputs:
        names = ", ".join(Path(name).name for name in side["files"].split(", "))
        lines.append(f"- {side['role']}: {side['rows']:,} of {_plain(names)}")
    for model, count in facts["models"].items():
        lines.append(f"- model: {_plain(str(model))} ({count:,} of the aligned rows)")
    if facts["prompts"]:
        some = ", ".join(f"`{_plain(str(name))}`" for name, _ in facts["prompts"].most_common(_SHOWN))
        lines.append(f"- prompts: {len(facts['prompts']):,}, by hash: {some}")
    if facts["ledger"].is_file():
        lines += _cost(facts["ledger"])
    return ["## Where they come from\n\n" + "\n".join(lines)] if lines else []


def _cost(path: Path) -> list[str]:
    with Ledger(path) as ledger:
        found = ledger.summary()
    money = f", cost {found.cost:.4g}" if found.cost else ""
    return [
        f"- asked: {found.answered + found.dead:,} requests, {found.usage.prompt_tokens:,} tokens of prompts"
        f" and {found.usage.completion_tokens:,} of answers{money}"
    ]


def _counts(facts: Mapping[str, Any]) -> list[str]:
    made, drawn, found = facts["made"], facts["labels"], []
    if made or drawn:
        labels = list(dict.fromkeys([*made, *drawn]))[:_SHOWN]
        lines = [
            f"| {_plain(label)} | {made.get(label, 0):,} | {drawn.get(label, 0):,} |" for label in labels
        ]
        found.append("## Rows by label\n\n| label | made | aligned |\n|---|---|---|\n" + "\n".join(lines))
    rejected = facts["stages"].get("generate", {}).get("rejected", {})
    if rejected:
        lines = [f"| {_plain(reason)} | {count:,} |" for reason, count in rejected.items()]
        found.append("## Rows that were made and not kept\n\n| why | rows |\n|---|---|\n" + "\n".join(lines))
    return found


def _distances(facts: Mapping[str, Any]) -> list[str]:
    lines = []
    measured = facts["evaluation"].get("mmd2")
    if measured:
        low, _, high = measured["real_band"]
        drawn = measured["resampled"]
        drawn = "none drawn" if drawn is None else f"{drawn:.3g} as drawn"
        lines.append(
            f"- to {facts['evaluation']['test_rows']:,} held-out real rows: {measured['before']:.3g} as made,"
            f" {measured['after']:.3g} weighted, {drawn}; real rows among themselves {low:.3g} to {high:.3g}"
        )
    alignment = facts["alignment"]
    if alignment:
        band = alignment.get("noise_band")
        lines.append(
            f"- to the real rows that were aligned with: {alignment['mmd2_before']:.3g} even,"
            f" {alignment['mmd2_after']:.3g} weighted"
            + (f"; noise band {band:.3g}" if band is not None and np.isfinite(band) else "")
            + f"; {alignment['ess']:,.0f} effective rows"
        )
    return ["## Distance (MMD²)\n\n" + "\n".join(lines)] if lines else []


def _plain(text: str, most: int = 200) -> str:
    """One line without what Markdown, YAML or HTML would act on."""
    kept = "".join(letter if letter.isprintable() else " " for letter in text)
    return "".join(f"&#{ord(letter)};" if letter in '<>&|`*[]#:{}"\\' else letter for letter in kept[:most])
