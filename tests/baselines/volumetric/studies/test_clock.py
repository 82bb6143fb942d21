from __future__ import annotations

import pytest

from baselines.volumetric.forecaster import VolumetricUNet
from baselines.volumetric.studies.clock import Clock, Watch, Work, told, work_of


def test_time_left_is_work_left_at_the_speed_so_far():
    clock = Clock(100.0)
    assert clock.left == ""
    clock.spent(10, 5)
    assert clock.left == "45 s"
    clock.passed(50)
    assert clock.left == "20 s"
    clock.spent(20, 40)  # slower now: 30 in 45 s
    assert clock.left == "30 s"


def test_steps_that_compile_or_were_done_before_tell_no_speed():
    now = [0.0]
    clock = Clock(1000.0, lambda: now[0])
    watch = Watch(clock, Work(steps=200, step=5.0, forecast=0.0))
    for done, at in ((100, 60.0), (110, 61.0), (120, 90.0)):
        now[0] = at
        watch.step(done)
        assert clock.left == ""
    now[0] = 94.0
    watch.step(140)  # 20 steps in 4 s: 60 more take 12
    assert clock.left == "12 s"
    watch.end()
    assert clock.left == "0 s"


def test_a_training_that_ends_early_leaves_the_rest_undone():
    clock = Clock(300.0, lambda: 0.0)
    watch = Watch(clock, Work(steps=200, step=1.0, forecast=100.0))
    watch.step(1)
    watch.end()
    clock.spent(50, 10)
    assert clock.left == "10 s"


def test_work_grows_with_what_convolutions_move():
    def work(windows=3, **changes):
        settings = {"levels": 0, "features": 4, "groups": 2, "blocks": 1, "steps": 10}
        made = VolumetricUNet(**(settings | {"resolution": 1} | changes))
        return work_of(made.parameters, 4, 32, (8, 4, 2), windows)

    # Convolutions: 4 -> 4 to begin with, two blocks of two, and 4 -> 1 at the end.
    forward = 8 * 4 * 2 * (8 + 4 * 8 + 5)
    assert work().forecast == pytest.approx(3 * 32 * forward)
    assert work().step == pytest.approx(forward * (3 + 128 / 50))
    assert work().total == pytest.approx(10 * work().step + work().forecast)
    assert work(crop=[4, 4, 2]).forecast == pytest.approx(work().forecast / 2)
    assert work(resolution=2).forecast == pytest.approx(work().forecast / 4)
    assert work(head="direct").forecast == pytest.approx(3 * 8 * 4 * 2 * (8 + 4 * 8 + 36))
    assert work(head="autoregression").forecast == work().forecast


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.4, "4 s"), (99, "99 s"), (160, "3 min"), (7200, "2.0 h")]
)
def test_durations_read_well(seconds, text):
    assert told(seconds) == text
