"""The Keras callbacks of the training loop, one a module. These are inner modules: importing one imports Keras."""
