"""What stands at the top of a run's report."""

from synalign_jax.pipeline.config_file import parse_config
from synalign_jax.pipeline.stages.report import _warnings, _went_in


def test_what_was_said_of_the_real_rows_stands_with_them() -> None:
    config = parse_config(
        {
            "run": {"folder": "out"},
            "data": {"source": "owner/set"},
            "llm": {"base_url": "http://127.0.0.1:1/v1", "model": "m"},
        }
    )
    loaded = {"source": "owner/set", "few_shot": 20, "real_rows": 90, "labels": {"neg": 9, "pos": 11}}
    made = {"rows": 40, "labels": {"neg": 20, "pos": 20}}
    said = "owner/set: labels by the names in the file: 0 is 'neg', 1 is 'pos'"

    def told(**more: object) -> tuple:
        facts = {"load": {**loaded, **more}, "generate": made}
        return _went_in(config, [{"stage": name, "facts": fact} for name, fact in facts.items()])

    real, rows = told(text="{query}\n{passage}", remarks=[said])
    assert real.remarks == (said,)
    assert real.columns == "text: {query}\n{passage}, label: label"
    assert real.labels == "pos 11, neg 9"
    assert rows.remarks == ()
    warned = {"facts": {"remarks": [said]}, "warnings": [said, "3 of the real rows have no text"]}
    assert _warnings([warned, {"facts": {}, "warnings": ["few rows"]}]) == (
        "3 of the real rows have no text",
        "few rows",
    )
    assert told()[0].remarks == (), "a run of an earlier version"
