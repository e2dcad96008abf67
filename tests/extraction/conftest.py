import pytest
from extraction_sample import SPACING_A, Sample, handed_species

from etpick.io.mrc import write_mrc
from etpick.io.picks import write_picks
from etpick.simulate import Imaging, simulate_tomogram


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    species = handed_species()
    imaging = Imaging(ice_noise=0.05, defocus_um=(1.5, 1.5), shift_jitter_A=1.0, dose_e_A2=300)
    made = simulate_tomogram(
        (64, 128, 128),
        seed=1,
        spacing_A=SPACING_A,
        species=[species],
        particles_per_class=30,
        imaging=imaging,
        name="t1",
    )
    folder = tmp_path_factory.mktemp("sample")
    write_mrc(folder / "t1.mrc", made.tomogram.data, SPACING_A)
    write_picks(folder / "t1.csv", made.truth)
    return Sample(folder, made.tomogram, made.truth, species)
