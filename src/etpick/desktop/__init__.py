"""Tomograms and picks in the viewers of a desktop: napari, ChimeraX and ArtiaX, IMOD's 3dmod."""
