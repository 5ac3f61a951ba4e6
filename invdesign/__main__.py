"""`python -m invdesign` is the command line."""

from invdesign.cli import main

if __name__ == "__main__":
    main()
