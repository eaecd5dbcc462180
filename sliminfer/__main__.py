"""`python -m sliminfer`."""

from sliminfer.cli import main

if __name__ == "__main__":
    main()
