"""A claim as another operator's object: Crossplane's patch and transform, interpreted by libre.sh itself."""
