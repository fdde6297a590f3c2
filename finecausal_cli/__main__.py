"""Run the command line as ``python -m finecausal_cli``."""

from finecausal_cli.cli import run

if __name__ == "__main__":
    run()
