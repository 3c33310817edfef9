"""`python -m freshet_operator`."""

from freshet_operator.main import main

if __name__ == "__main__":
    main()
