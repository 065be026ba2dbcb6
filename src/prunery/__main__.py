"""`python -m prunery` is `prunery`."""

from prunery.cli import main

if __name__ == "__main__":
    main()
