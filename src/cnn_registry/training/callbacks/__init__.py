"""The Keras callbacks of the training loop, one a module. These are inner modules: all but ``endings`` import Keras."""
