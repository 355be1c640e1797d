"""Files, folders, downloads and progress: what every part of the library does alike."""
