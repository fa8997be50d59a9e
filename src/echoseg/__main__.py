"""`python -m echoseg`."""

from echoseg.cli import main

if __name__ == "__main__":
    main()
