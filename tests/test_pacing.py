import pytest
from hypothesis import given
from hypothesis import strategies as st

from etpick.pacing import Pace, milestones, one_cycle


def test_the_rate_rises_to_its_peak_and_falls_to_the_end():
    rates = [one_cycle(i / 1000) for i in range(1001)]
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(1)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] == pytest.approx(0.01)


@given(steps=st.integers(1, 10_000), count=st.integers(1, 20))
def test_the_last_step_is_validated_and_the_others_are_even(steps, count):
    due = sorted(milestones(steps, count))
    assert due[-1] == steps
    assert len(due) == min(steps, count)
    gaps = [b - a for a, b in zip([0, *due], due, strict=False)]
    assert max(gaps) - min(gaps) <= 1


@given(step_s=st.floats(0.01, 5), minutes=st.floats(1, 60))
def test_what_is_planned_fits_into_the_time(step_s, minutes):
    pace = Pace(10**9, minutes, [step_s] * 6)
    steps = pace.first_plan(6 * step_s, 30.0)
    assert (steps + 6) * step_s + 30 <= minutes * 60 or steps == 1


def test_a_machine_that_slows_down_does_fewer_steps_and_one_that_recovers_more():
    pace = Pace(5000, 10, [0.1] * 200)
    assert pace.new_plan(1000, 4000, 300, 0) is None  # 3,000 more fit, as planned
    pace.seconds += [1.0] * 200
    assert pace.new_plan(1000, 4000, 300, 0) == 1300
    pace.seconds += [0.05] * 200
    assert pace.new_plan(1000, 4000, 300, 0) == 5000  # never more than asked for
    assert Pace(100, None, [1.0] * 9).new_plan(10, 100, 9, 0) is None
