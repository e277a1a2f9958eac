"""`python -m evo`: the same as the `evo` script."""

from evo.cli.main import main

main()
