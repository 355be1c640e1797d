"""What a run directory shows a person: everything is there as data first, as a picture second."""
