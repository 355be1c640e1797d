"""Where decoded images are read from: memory, a cache on disk, or the files themselves."""
