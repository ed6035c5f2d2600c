"""The command `lakehouse backtest recommend`: the recommender on anybody's purchases."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table as RichTable

from pipelines.commands.options import Json
from pipelines.errors import LakehouseError, UsageError
from pipelines.terminal import err, out, print_json

if TYPE_CHECKING:
    from pipelines.recommendation.backtest import Backtest, Measured
    from pipelines.recommendation.files import Purchases
    from pipelines.recommendation.metrics import Estimate
    from pipelines.recommendation.splits import Split

_DAYS = 28
_TITLES = {"all": "All products", "new": "Products new to the client"}


def recommend(
    interactions: Annotated[
        Path,
        typer.Option(
            help="Parquet or CSV: client_id, product_id, at; optional basket_id, quantity, "
            "segment, and attributes of products as text."
        ),
    ],
    holdout_days: Annotated[
        int | None, typer.Option(min=1, help=f"Hold out the last days; default {_DAYS}.")
    ] = None,
    last_basket: Annotated[
        bool, typer.Option("--last-basket", help="Hold out each client's last basket instead.")
    ] = False,
    k: Annotated[int, typer.Option(min=1, max=100, help="Length of the lists.")] = 10,
    as_json: Json = False,
) -> None:
    """Hold out the end of a history of purchases, and measure every source and the blend on it."""
    if last_basket and holdout_days is not None:
        raise UsageError(
            "--holdout-days and --last-basket exclude each other", "give one of them, or neither"
        )
    with err.status("Learning from the purchases before the cut …"):
        purchases, result = _tested(interactions, None if last_basket else holdout_days or _DAYS, k)
    if as_json:
        print_json(_as_json(purchases, result))
    else:
        _show(purchases, result)


def _tested(file: Path, holdout_days: int | None, k: int) -> tuple[Purchases, Backtest]:
    """Run the backtest; libraries of models are loaded here, for they take seconds."""
    try:
        from pipelines.recommendation.backtest import backtest
        from pipelines.recommendation.files import read_purchases
        from pipelines.recommendation.splits import Holdout, LastBasket
    except ModuleNotFoundError as error:
        raise LakehouseError(
            f"a library of the models is missing: {error.name}",
            'install the extra `ml`: pip install "lakehouse-platform[ml]"',
        ) from None
    split: Split = LastBasket() if holdout_days is None else Holdout(holdout_days)
    purchases = read_purchases(file)
    return purchases, backtest(purchases.interactions, split, purchases.context, k=k)


def _as_json(purchases: Purchases, result: Backtest) -> dict[str, object]:
    return asdict(result) | {
        "attributes": purchases.attributes,
        "ignored": purchases.ignored,
        "left_out": purchases.interactions.left_out,
    }


def _show(purchases: Purchases, result: Backtest) -> None:
    known = purchases.interactions
    _line(f"{len(known.day):,} purchases of {len(known.clients):,} clients")
    for why, number in known.left_out.items():
        _line(f"left out: {number:,} rows ({why})")
    _line(f"attributes of products: {', '.join(purchases.attributes) or 'none'}")
    if purchases.ignored:
        _line(f"ignored columns: {', '.join(purchases.ignored)}")
    (tested,) = result.windows
    _line(
        f"Held out: {result.split} ({tested.window}); before it {tested.clients:,} clients and "
        f"{tested.products:,} products. {tested.unknown:.1%} of what was bought was unknown then; "
        f"{tested.cold_clients:,} clients were, and are not measured."
    )
    for task in _TITLES:
        rows = [row for row in result.rows if row.task == task]
        if rows:
            out.print(_table(task, rows, result.k))
        else:
            _line(f"{_TITLES[task]}: none were bought in the window.")
    for task in _TITLES:
        _line(f"{_TITLES[task]}: {tested.why[task]}")


def _table(task: str, rows: list[Measured], k: int) -> RichTable:
    title = f"{_TITLES[task]}: {rows[0].clients:,} clients, 95 % intervals"
    table = RichTable(
        "", f"Recall@{k}", f"NDCG@{k}", f"MAP@{k}", "coverage", title=title, title_justify="left"
    )
    for row in rows:
        name = f"[bold]{row.contender}[/] ← used" if row.is_chosen else row.contender
        table.add_row(name, *map(_estimate, (row.recall, row.ndcg, row.map)), f"{row.coverage:.1%}")
    return table


def _estimate(found: Estimate) -> str:
    return f"{found.mean:.4f} ({found.low:.4f}–{found.high:.4f})"


def _line(text: str) -> None:
    out.print(escape(text), highlight=False, soft_wrap=True)
