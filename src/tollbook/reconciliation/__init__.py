"""The vendor's book against ours: cells, causes with the money each explains, and what is left."""
