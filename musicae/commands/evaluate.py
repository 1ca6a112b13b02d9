"""`evaluate`: scores a model on data that it was not trained on."""

import json
from pathlib import Path

import click

from musicae.commands.options import (
    data_option,
    load,
    model_option,
    parse_settings,
    refine_option,
    settings_option,
)


@click.command()
@model_option(None)
@data_option
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "all"]),
    default="test",
    help="Which part of the data: a twentieth of the files, by their names, as training set it apart; "
    "or all of it, for files the model never saw.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Score at most so many examples.")
@click.option("--seed", type=click.IntRange(0), default=0, metavar="N", help="Of corruption and draws.")
@click.option(
    "--importance",
    type=click.IntRange(0),
    default=0,
    metavar="K",
    help="Draws of z an example for an importance-weighted likelihood.",
)
@click.option(
    "--samples",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Draws from the prior to compare with held-out music.",
)
@click.option(
    "--pairs",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Paths between held-out examples to compare with crossfades.",
)
@refine_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_option
def evaluate(
    model: str,
    data: tuple[Path, ...],
    split: str,
    limit: int | None,
    seed: int,
    importance: int,
    samples: int,
    pairs: int,
    refine: int,
    as_json: bool,
    settings: tuple[str, ...],
) -> None:
    """Score a model on data it was not trained on.

    A model that cleans sound is given fresh noise, at the ratios it was trained with; --set snr_db_low=5
    --set snr_db_high=5 asks for one ratio. With --set noise=FOLDER half of the noise is recorded (with --set families=
    all of it): a tenth of the recordings, by their names, or with --split all every one. With --refine the scores named
    …_refined are of codes that were improved.

    Example: musicae evaluate --model runs/image-reconstruct --json

    Example: musicae evaluate --model denoise-48k --data my_recordings --split all
    """
    from musicae.evaluation.evaluate import evaluate_files

    scores = evaluate_files(
        load(model).refining(refine),
        data,
        settings=parse_settings(settings),
        split=split,
        limit=limit,
        seed=seed,
        importance=importance,
        samples=samples,
        pairs=pairs,
    )
    if as_json:
        click.echo(json.dumps(scores, indent=2))
        return
    width = max(map(len, scores))
    for name, value in scores.items():
        if name.endswith(("_low", "_high")) and name.rpartition("_")[0] in scores:
            continue
        ends = f"  [{scores[name + '_low']:.5g}, {scores[name + '_high']:.5g}]" if f"{name}_low" in scores else ""
        click.echo(f"{name:{width}}  {value:.5g}{ends}")
