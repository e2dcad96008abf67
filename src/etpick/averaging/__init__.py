"""Subtomogram averaging in torch: what `etpick assess` does where RELION is not at hand. Spectra in, half-maps out."""
