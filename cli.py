#!/usr/bin/env python
"""`python cli.py …` is the installed `musicae …`."""

from musicae.cli import main

if __name__ == "__main__":
    main(prog_name="cli.py")
