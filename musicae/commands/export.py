"""Files that run elsewhere: `export`."""

from pathlib import Path

import click

from musicae.commands.options import echo_remarks, load, model_option, out_option


@click.command()
@model_option(None)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["onnx", "torch-export"]),
    default="onnx",
    help="onnx: for ONNX Runtime and browsers, with the extra onnx; torch-export: for PyTorch alone.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "float16", "int8"]),
    default="float32",
    help="Of stored weights; fewer bits are smaller, and what they cost in score is measured and printed.",
)
@click.option(
    "--part",
    "parts",
    multiple=True,
    metavar="NAME",
    help="Only this part, such as decoder; may be repeated.  [default: all]",
)
@out_option("FOLDER", "output/MODEL-export")
def export(model: str, file_format: str, precision: str, parts: tuple[str, ...], out: str | None, force: bool) -> None:
    """Write a model as files that run without musicae.

    Encoder, decoder and the prior's maps are a file each; what goes step by step, or frame by frame, is one step with
    its state. Each file is compared with PyTorch, and a difference above 1e-4 is an error. card.json says how to call
    the files.

    Example: musicae export --model melody-2bar --format onnx --out exported
    """
    from musicae.atomic_io import check_writable, free_path

    folder = Path("output") / f"{Path(model).name}-export" if out is None else Path(out)
    check_writable(folder, folder=True)
    if not force and folder.is_dir() and any(folder.iterdir()):
        folder = free_path(folder)
    found = load(model).export(folder, format=file_format, precision=precision, parts=parts or None)
    for path in found.files:
        click.echo(path)
    echo_remarks(found.remarks)
