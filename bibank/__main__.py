"""`python -m bibank` is the `bibank` command."""

from bibank.cli import main

if __name__ == "__main__":
    main()
