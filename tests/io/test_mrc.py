import bz2
import gzip
import zlib
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from etpick.errors import InputError, OutputError
from etpick.io.mrc import read_mrc, write_mrc

DTYPES = (np.int8, np.int16, np.float32, np.uint16, np.float16)


@settings(deadline=None)
@given(
    data=st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=5))
    ),
    spacing_A=st.floats(1.5, 50, width=32),
)
def test_reading_returns_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, data: np.ndarray, spacing_A: float
) -> None:
    path = tmp_path_factory.mktemp("mrc") / "a.mrc"
    assert write_mrc(path, data, spacing_A) == path
    contents = read_mrc(path)
    assert contents.data.dtype == data.dtype
    np.testing.assert_array_equal(contents.data[:], data)
    np.testing.assert_allclose(contents.spacing_A, spacing_A, rtol=1e-5)


def test_other_types_become_float32_and_bytes_are_the_same_each_time(tmp_path: Path) -> None:
    data = np.arange(24.0).reshape(2, 3, 4)
    write_mrc(tmp_path / "a.mrc", data, 10.0)
    write_mrc(tmp_path / "b.mrc", data, 10.0)
    assert read_mrc(tmp_path / "a.mrc").data.dtype == np.float32
    assert (tmp_path / "a.mrc").read_bytes() == (tmp_path / "b.mrc").read_bytes()
    with pytest.raises(OutputError, match="--overwrite"):
        write_mrc(tmp_path / "a.mrc", data, 10.0)


def test_is_mapped_not_read(tmp_path: Path) -> None:
    assert isinstance(read_mrc(write_mrc(tmp_path / "a.rec", np.ones((3, 4, 5)), 10.0)).data, np.memmap)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_packed_files_are_told_by_content(tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    data = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    plain = write_mrc(tmp_path / "a.mrc", data, 7.0)
    packed = tmp_path / "b.mrc"
    packed.write_bytes(pack(plain.read_bytes()))
    np.testing.assert_array_equal(read_mrc(packed).data[:], data)
    packed.write_bytes(pack(plain.read_bytes()[:-10]))
    with pytest.raises(InputError, match=r"truncated: its header promises 120 bytes .* 110 are there"):
        read_mrc(packed)
    packed.write_bytes(pack(plain.read_bytes())[:80])
    with pytest.raises(InputError, match=r"b\.mrc is truncated or damaged \(.*\): copy or reconstruct it again"):
        read_mrc(packed)


def test_damage_that_only_the_checksum_shows(tmp_path: Path) -> None:
    plain = write_mrc(tmp_path / "a.mrc", np.arange(60, dtype=np.int16).reshape(3, 4, 5), 7.0).read_bytes()
    raw = bytearray(gzip.compress(plain))
    raw[-8] ^= 1  # the checksum stands before the length, four bytes each
    (tmp_path / "b.mrc.gz").write_bytes(raw)
    with pytest.raises(InputError, match=r"b\.mrc\.gz is truncated or damaged \(CRC check failed"):
        read_mrc(tmp_path / "b.mrc.gz")


def test_a_packed_header_that_promises_petabytes_is_not_believed(tmp_path: Path) -> None:
    plain = bytearray(write_mrc(tmp_path / "a.mrc", np.ones((2, 2, 2)), 7.0).read_bytes())
    plain[0:12] = np.full(3, 2_000_000_000, dtype="<i4").tobytes()
    for path, content in ((tmp_path / "b.mrc", bytes(plain)), (tmp_path / "b.mrc.gz", gzip.compress(plain))):
        path.write_bytes(content)
        with pytest.raises(
            InputError, match=r"is truncated: its header promises 32\d* bytes of voxels .* 32 are there"
        ):
            read_mrc(path)


def test_damage_inside_a_packed_stream(tmp_path: Path) -> None:
    levels = np.arange(64000, dtype=np.int16).reshape(40, 40, 40)
    raw = bytearray(gzip.compress(write_mrc(tmp_path / "a.mrc", levels, 7.0).read_bytes()))
    raw[len(raw) // 2 : len(raw) // 2 + 64] = b"\xff" * 64
    with pytest.raises(zlib.error):
        gzip.decompress(raw)
    (tmp_path / "b.mrc.gz").write_bytes(raw)
    with pytest.raises(InputError, match="is truncated or damaged"):
        read_mrc(tmp_path / "b.mrc.gz")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_no_damaged_byte_of_a_packed_file_changes_voxels_in_silence(
    tmp_path_factory: pytest.TempPathFactory, pack, data: st.DataObject
) -> None:  # type: ignore[no-untyped-def]
    levels = np.random.default_rng(0).integers(-99, 99, (3, 4, 5), dtype=np.int16)
    folder = tmp_path_factory.mktemp("mrc")
    raw = bytearray(pack(write_mrc(folder / "a.mrc", levels, 7.0).read_bytes()))
    raw[data.draw(st.integers(10, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / "b.mrc").write_bytes(raw)
    try:
        found = read_mrc(folder / "b.mrc").data[:]
    except InputError:
        return
    np.testing.assert_array_equal(found, levels)


def test_truncated(tmp_path: Path) -> None:
    path = write_mrc(tmp_path / "a.mrc", np.ones((4, 4, 4)), 10.0)
    path.write_bytes(path.read_bytes()[:1100])
    with pytest.raises(InputError, match=r"a\.mrc is truncated: its header promises 256 bytes .* 76 are there"):
        read_mrc(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read as an MRC file"):
        read_mrc(path)


def test_big_endian_with_an_extended_header(tmp_path: Path) -> None:
    data = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(data.astype(">f4"))
        mrc.set_extended_header(np.zeros(160, dtype="V1"))
        mrc.voxel_size = 5.0
    np.testing.assert_array_equal(read_mrc(path).data[:], data)


def test_a_wrong_machine_stamp_is_seen_through(tmp_path: Path) -> None:
    path = write_mrc(tmp_path / "a.mrc", np.full((2, 3, 4), 7.0), 10.0)
    raw = bytearray(path.read_bytes())
    raw[212:216] = bytes([0x11, 0x11, 0, 0])
    path.write_bytes(raw)
    assert read_mrc(path).data[1, 2, 3] == 7.0


def test_bytes_of_imod_are_unsigned(tmp_path: Path) -> None:
    path = write_mrc(tmp_path / "a.mrc", np.full((2, 3, 4), -1, dtype=np.int8), 10.0)
    assert read_mrc(path).data[0, 0, 0] == -1
    raw = bytearray(path.read_bytes())
    raw[152:160] = np.array([1146047817, 0], dtype="<i4").tobytes()
    path.write_bytes(raw)
    assert read_mrc(path).data[0, 0, 0] == 255
    raw[156] = 1
    path.write_bytes(raw)
    assert read_mrc(path).data[0, 0, 0] == -1


def test_what_is_not_one_volume_of_numbers_is_refused(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "stack.mrc") as mrc:
        mrc.set_data(np.zeros((2, 3, 4, 5), dtype=np.float32))
    with pytest.raises(InputError, match="stack of volumes"):
        read_mrc(tmp_path / "stack.mrc")
    with mrcfile.new(tmp_path / "image.mrc") as mrc:
        mrc.set_data(np.zeros((4, 5), dtype=np.float32))
    with pytest.raises(InputError, match="single image"):
        read_mrc(tmp_path / "image.mrc")
    with mrcfile.new(tmp_path / "complex.mrc") as mrc:
        mrc.set_data(np.zeros((2, 4, 5), dtype=np.complex64))
    with pytest.raises(InputError, match="MRC mode 4"):
        read_mrc(tmp_path / "complex.mrc")
    (tmp_path / "text.mrc").write_text("no tomogram at all " * 100)
    with pytest.raises(InputError, match="MRC mode"):
        read_mrc(tmp_path / "text.mrc")


def test_nan_is_written_and_read_in_silence(tmp_path: Path) -> None:
    data = np.full((2, 3, 4), np.nan, dtype=np.float32)
    assert np.isnan(read_mrc(write_mrc(tmp_path / "a.mrc", data, 10.0)).data[:]).all()
