"""User stories on a real cluster: everything as a person gets it from `libresh up`, nothing pretended."""
