"""How well the particles of a set average: refinement by RELION or by the light path, and what its halves tell."""
