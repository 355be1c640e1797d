"""``python -m cnn_registry`` is ``cnnreg``."""

from .cli import main

if __name__ == "__main__":
    main()
