"""The model card: what a model is for, what it learned from, how good it is, what it is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipelines.ml.gate import Verdict
from pipelines.ml.kind import Facts
from pipelines.ml.published import Input
from pipelines.ml.trial import Trial


def write_card(
    kind: str,
    facts: Facts,
    *,
    used: str,
    sha256: str,
    trained_until: str,
    inputs: Iterable[Input],
    trial: Trial,
    verdict: Verdict,
    parameters: Mapping[str, Any],
    code: Mapping[str, str],
) -> str:
    """Write it as Markdown.

    Args:
        used: what predictions are made of.
        sha256: of the model's files.
        code: git commit and the like, by name.
    """
    state = "promoted" if verdict.is_promoted else "refused"
    contenders = trial.contenders
    sections = [
        f"# Model card: {kind}",
        f"{facts.purpose}\n\n**Owner:** {facts.owner} · **predicts with:** {used} · "
        f"**trained until:** {trained_until} · **SHA-256:** `{sha256}`",
        f"## Verdict\n\nThe gate {state} it: {verdict.reason}.",
        "## Method\n\n" + facts.method,
        "## Data\n\n" + _table(
            ("table", "version", "rows", "content"),
            [(i.table, i.version, f"{i.rows:,}", f"`{i.content_hash}`") for i in inputs],
        ),
        f"## {trial.metric}, lower is better\n\n" + _table(
            ("origin", f"{trial.unit}s", *contenders),
            [
                (part.origin, f"{len(part.units):,}", *(
                    f"{part.value(name):.4f}" for name in contenders))
                for part in trial.parts
            ]
            + [("all", "", *(f"{trial.value(name):.4f}" for name in contenders))],
        ),
        "## Against each other\n\nShare of the other's loss that the challenger saves, with its "
        f"95 % interval by paired bootstrap over {trial.unit}s.\n\n" + comparisons(verdict),
        "## Further figures of the challenger\n\n" + _table(
            ("origin", *trial.parts[0].metrics),
            [
                (part.origin, *(f"{part.metrics.get(name, float('nan')):.4f}"
                                for name in trial.parts[0].metrics))
                for part in trial.parts
            ],
        ),
        "## Checks\n\n" + _table(
            ("", "check", "found"),
            [
                (check.subject, check.name, f"{'passed' if check.passed else '**failed**'}: "
                 f"{check.told}")
                for check in verdict.checks
            ],
        ),
        "## What was used at each origin\n\n"
        + "\n".join(f"- {part.origin}: {part.used}" for part in trial.parts),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in facts.limits),
        "## Parameters and code\n\n" + _table(
            ("name", "value"), [*parameters.items(), *code.items()]
        ),
    ]  # fmt: skip
    return "\n\n".join(sections) + "\n"


def comparisons(verdict: Verdict) -> str:
    """The table of the gate, in Markdown."""
    return _table(
        ("against", "its loss", "own loss", "gain", "interval", ""),
        [
            (
                each.against,
                f"{each.other:.4f}",
                f"{each.own:.4f}",
                f"{each.gain:+.1%}",
                f"{each.low:+.1%} to {each.high:+.1%}",
                "better" if each.is_beyond_noise else "not beyond noise",
            )
            for each in verdict.comparisons
        ],
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)
