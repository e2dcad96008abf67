import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etpick.errors import InputError
from etpick.tiles import plan_tiles, thriftiest_tile

sizes = st.tuples(*[st.integers(1, 150)] * 3)
tiles = st.tuples(*[st.sampled_from([40, 48, 64, 96, 160])] * 3)


@given(shape=sizes, tile=tiles, halo=st.sampled_from([0, 4, 8, 16]), exact=st.booleans())
def test_every_voxel_is_kept_once_and_lies_in_its_tile(shape, tile, halo, exact):
    plan = plan_tiles(shape, tile, halo, exact=exact)
    kept = np.zeros(shape, int)
    for row in plan.rows:
        assert len({(t.keep.start[0], t.keep.stop[0]) for t in row}) == 1
        for t in row:
            kept[t.keep.slices] += 1
            for size, r0, r1, k0, k1 in zip(shape, t.read.start, t.read.stop, t.keep.start, t.keep.stop, strict=True):
                assert k0 == r0 == 0 or r0 + halo <= k0  # a halo within the volume, none before its faces
                assert k1 == size <= r1 or k1 + halo <= r1
                assert exact or r1 < size + 8
    assert (kept == 1).all()


@given(shape=sizes, tile=tiles, halo=st.sampled_from([0, 4, 8, 16]), exact=st.booleans())
def test_tiles_are_whole_coarsest_voxels_on_one_grid(shape, tile, halo, exact):
    for row in plan_tiles(shape, tile, halo, exact=exact).rows:
        for t in row:
            assert all(n % 8 == 0 and n <= limit for n, limit in zip(t.read.shape, tile, strict=True))
            assert all(start % 8 == 0 for start in t.read.start)
            if exact:
                assert t.read.shape == tile


def test_only_the_halo_between_tiles_is_wasted():
    assert plan_tiles((200, 512, 512), (200, 512, 512), 16).voxels_read == 200 * 512 * 512
    assert plan_tiles((64, 64, 64), (512, 512, 512), 16).voxels_read == 64**3
    halves = plan_tiles((200, 512, 512), (200, 512, 280), 16)
    assert [t.read.shape for t in halves.rows[0]] == [(200, 512, 272)] * 2


@pytest.mark.parametrize(("tile", "halo"), [(32, 16), (45, 8), (64, 3)])
def test_a_tile_that_cannot_serve_is_refused_with_both_numbers(tile, halo):
    with pytest.raises(InputError, match=f"tile {tile} with halo {halo}"):
        plan_tiles((64, 64, 64), (tile, tile, tile), halo)


@settings(max_examples=30)  # a draw may take a second
@given(
    shape=st.tuples(*[st.integers(1, 400)] * 3), halo=st.sampled_from([0, 4, 16]),
    voxels=st.integers(1, 10**7), depth=st.integers(1, 500),
)  # fmt: skip
def test_the_thriftiest_tile_fits_and_reads_no_more_than_a_cube_would(shape, halo, voxels, depth):
    tile = thriftiest_tile(shape, halo, voxels, depth)
    plan = plan_tiles(shape, tile, halo)
    least = 2 * halo + 8
    assert np.prod(tile) <= max(voxels, least**3)
    assert tile[0] <= max(depth, least)
    edge = int(min(voxels, 10**7) ** (1 / 3)) // 8 * 8
    if least <= edge <= depth:
        assert plan.voxels_read <= plan_tiles(shape, (edge, edge, edge), halo).voxels_read
