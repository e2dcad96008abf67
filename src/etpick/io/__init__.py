"""Files to types and back: the only place with other coordinate conventions than zyx voxel indices."""
