"""What MkDocs does besides for these pages: the command line's reference, and equations as MathML.

The reference is read from click, so that it says what `--help` says. Equations become MathML while the pages are
built, so that a browser shows them without a script from another server.
"""

import html
import re
from typing import Any

import click
from latex2mathml.converter import convert

COMMANDS = "<!-- commands -->"
_EQUATION = re.compile(r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replaces the marker by a section for each command."""
    if COMMANDS not in markdown:
        return markdown
    from musicae.cli import main

    context = click.Context(main, info_name="musicae", **main.context_settings)
    names = main.list_commands(context)
    commands = [(name, command) for name in names if (command := main.get_command(context, name)) is not None]
    return markdown.replace(COMMANDS, "\n".join(_section(name, command, context) for name, command in commands))


def on_page_content(content: str, **_: Any) -> str:
    """Turns LaTeX into MathML."""
    return _EQUATION.sub(_mathml, content)


def _mathml(match: re.Match[str]) -> str:
    display = "block" if match["tag"] == "div" else "inline"
    return convert(html.unescape(match["latex"]), display=display)


def _section(name: str, command: click.Command, parent: click.Context) -> str:
    """One command as Markdown: what it does, its usage, its examples and its options."""
    context = click.Context(command, info_name=name, parent=parent)
    paragraphs = (command.help or "").replace("\b", "").split("\n\n")
    text = [" ".join(paragraph.split()) for paragraph in paragraphs if paragraph.strip()]
    examples = [paragraph.removeprefix("Example: ") for paragraph in text if paragraph.startswith("Example: ")]
    prose = [html.escape(paragraph, quote=False) for paragraph in text if not paragraph.startswith("Example: ")]
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines = [f"## {name}", *prose, f"    {usage}"]
    if examples:
        lines += ["Examples:", "\n".join(f"    {example}" for example in examples)]
    lines.append("\n".join(["| option | what it does |", "|---|---|", *_rows(command, context)]))
    return "\n\n".join(lines) + "\n"


def _rows(command: click.Command, context: click.Context) -> list[str]:
    records = (parameter.get_help_record(context) for parameter in command.get_params(context))
    return [f"| <code>{_cell(option)}</code> | {_cell(text)} |" for option, text in filter(None, records)]


def _cell(text: str) -> str:
    """Text in which nothing is Markdown."""
    return html.escape(" ".join(text.split())).translate({ord(sign): f"&#{ord(sign)};" for sign in "|[]*_`\\"})
