"""Simulated tomograms with known truth: what is in the ice, how it is imaged, which files it makes."""

from etpick.simulate.files import simulate_folder
from etpick.simulate.imaging import Imaging
from etpick.simulate.scene import Simulated, simulate_tomogram
from etpick.simulate.shapes import BUILT_IN_CLASSES
from etpick.simulate.species import Species, built_in_species, find_species

__all__ = [
    "BUILT_IN_CLASSES",
    "Imaging",
    "Simulated",
    "Species",
    "built_in_species",
    "find_species",
    "simulate_folder",
    "simulate_tomogram",
]
