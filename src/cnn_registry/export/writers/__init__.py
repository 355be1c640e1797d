"""One module per format: ``write_<format>`` a network, and ``load_<format>`` it with the format's own runtime."""
