"""Schedule and deterministic sampling: equalities that hold whatever the network is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from daetalker.models import ddim_numpy
from daetalker.models.diffusion import (
    add_noise,
    ddim_invert,
    ddim_sample,
    epsilon_from_x0,
    from_epsilon,
    linear_schedule,
    timesteps,
    x0_from_epsilon,
)

SCHEDULE = linear_schedule(1000)


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _image(seed: int = 0) -> Tensor:
    return _normal(seed, 2, 3, 8, 8).clamp(-1.0, 1.0)


def _smooth(x_t: Tensor, t: Tensor) -> Tensor:
    """A well-behaved imperfect denoiser: its estimate moves with x_t and t."""
    return 0.5 * torch.tanh(x_t) * (1.0 - t.view(-1, 1, 1, 1) / 2000.0)


def test_signal_falls_from_near_one_to_near_zero() -> None:
    level = SCHEDULE.alpha_bar
    assert level.dtype == torch.float64
    assert SCHEDULE.steps == 1000
    assert bool((level[1:] < level[:-1]).all())
    assert float(level[0]) == pytest.approx(1.0 - 1e-4)
    assert 0.0 < float(level[-1]) < 1e-4


@pytest.mark.parametrize("options", [{"steps": 0}, {"start": 0.0}, {"start": 0.5}, {"end": 1.0}])
def test_impossible_schedules_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="linear_schedule"):
        linear_schedule(**options)  # type: ignore[arg-type]


def test_noise_and_image_are_recovered_from_each_other() -> None:
    x0, noise, t = _image(), _normal(1, 2, 3, 8, 8), torch.tensor([3, 700])
    x_t = add_noise(SCHEDULE, x0, t, noise)
    torch.testing.assert_close(epsilon_from_x0(SCHEDULE, x_t, t, x0), noise, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(x0_from_epsilon(SCHEDULE, x_t, t, noise), x0, atol=1e-4, rtol=1e-4)


def test_add_noise_keeps_unit_variance() -> None:
    x0, noise = _normal(2, 1, 3, 64, 64), _normal(3, 1, 3, 64, 64)
    for step in (0, 400, 999):
        x_t = add_noise(SCHEDULE, x0, torch.tensor([step]), noise)
        assert float(x_t.var()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("count", [1, 2, 7, 50, 100, 999, 1000])
def test_timesteps_fall_from_the_last_to_the_first(count: int) -> None:
    path = timesteps(SCHEDULE, count)
    assert len(path) == count
    assert path[0] == 999
    assert count == 1 or path[-1] == 0
    assert all(a > b for a, b in pairwise(path))


@pytest.mark.parametrize("count", [-1, 0, 1001])
def test_step_counts_out_of_range_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 1000"):
        ddim_sample(SCHEDULE, _smooth, _normal(4, 1, 3, 8, 8), count)


@pytest.mark.parametrize("steps", [1, 2, 10, 100])
def test_a_perfect_denoiser_gives_the_image_exactly(steps: int) -> None:
    x0 = _image()
    assert torch.equal(ddim_sample(SCHEDULE, lambda x, t: x0, _normal(5, 2, 3, 8, 8), steps), x0)


@pytest.mark.parametrize("steps", [2, 10, 50])
def test_a_perfect_noise_predictor_gives_the_image(steps: int) -> None:
    x0, noise = _image(), _normal(6, 2, 3, 8, 8)
    x_T = add_noise(SCHEDULE, x0, torch.full((2,), 999), noise)
    denoiser = from_epsilon(SCHEDULE, lambda x, t: noise)
    # At t = 999 the signal is 0.6 % of x_t, so float32 leaves about 1e-4 of rounding.
    torch.testing.assert_close(ddim_sample(SCHEDULE, denoiser, x_T, steps), x0, atol=2e-3, rtol=0.0)


def test_sampling_is_deterministic_and_treats_images_alone() -> None:
    x_T = _normal(7, 2, 3, 8, 8)
    once = ddim_sample(SCHEDULE, _smooth, x_T, 20)
    assert torch.equal(once, ddim_sample(SCHEDULE, _smooth, x_T, 20))
    assert torch.equal(once[1:], ddim_sample(SCHEDULE, _smooth, x_T[1:], 20))


def test_inverting_then_sampling_returns_the_image() -> None:
    x0 = 0.5 * _image(8)

    def near(x_t: Tensor, t: Tensor) -> Tensor:
        return x0 + 0.002 * torch.tanh(x_t)

    x_T = ddim_invert(SCHEDULE, near, x0, 250)
    assert float((x_T - x0).abs().mean()) > 0.1
    torch.testing.assert_close(ddim_sample(SCHEDULE, near, x_T, 250), x0, atol=0.02, rtol=0.0)


def test_inversion_is_exact_for_a_perfect_denoiser() -> None:
    x0, noise = _image(), _normal(9, 2, 3, 8, 8)
    x_1 = add_noise(SCHEDULE, x0, torch.full((2,), 0), noise)
    x_T = ddim_invert(SCHEDULE, lambda x, t: x0, x_1, 50)
    expected = add_noise(SCHEDULE, x0, torch.full((2,), 999), noise)
    torch.testing.assert_close(x_T, expected, atol=5e-3, rtol=0.0)


@pytest.mark.parametrize("steps", [1, 4, 50])
def test_numpy_sampling_gives_the_same_numbers(steps: int) -> None:
    x_T = _normal(10, 2, 3, 8, 8)
    expected = ddim_sample(SCHEDULE, lambda x, t: _smooth(x, t).clamp(-1.0, 1.0), x_T, steps)
    got = ddim_numpy.ddim_sample(
        lambda x, t: _smooth(torch.from_numpy(x), torch.from_numpy(t)).numpy(), x_T.numpy(), steps
    )
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-5)
