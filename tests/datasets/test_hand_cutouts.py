import numpy as np
import pytest
import torch

from posekit.datasets import hand_cutouts
from posekit.datasets.hand_cutouts import blur_hands, cast_shadows, cross_hands

SIZE = 64


def squares(count: int) -> torch.Tensor:
    """Premultiplied: a square of one colour each, half as wide as the picture."""
    rgba = torch.zeros(count, 4, SIZE, SIZE)
    rgba[:, :, 16:48, 16:48] = torch.tensor([0.8, 0.4, 0.2, 1.0])[:, None, None]
    rgba[1::2, :3] = rgba[1::2, :3].flip(1)
    return rgba


@pytest.fixture
def always(monkeypatch):
    for name in ("_MOVING_SHARE", "_SHADOW_SHARE", "_CROSSED_SHARE"):
        monkeypatch.setattr(hand_cutouts, name, 1.0)


@pytest.mark.usefixtures("always")
def test_blur_smears_colour_and_alpha_alike_and_keeps_the_light():
    rgba = squares(20)
    before = rgba.clone()
    blur_hands(np.random.default_rng(0), rgba)
    # The square is far from the border, so that nothing is smeared out of the picture.
    torch.testing.assert_close(rgba.sum((2, 3)), before.sum((2, 3)), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(rgba[::2, 0], 0.8 * rgba[::2, 3], atol=1e-6, rtol=0)
    assert ((rgba[:, 3] > 0.05) & (rgba[:, 3] < 0.95)).flatten(1).any(1).float().mean() > 0.8


@pytest.mark.usefixtures("always")
def test_shadows_darken_what_lies_behind_and_not_the_hand():
    rgba = squares(20)
    before = rgba.clone()
    cast_shadows(np.random.default_rng(0), rgba)
    assert torch.equal(rgba[:, :3], before[:, :3])
    hand = before[:, 3] == 1
    assert (rgba[:, 3][hand] == 1).all()
    shadow = rgba[:, 3][~hand]
    assert shadow.max() <= 0.75 + 1e-6
    over_white = rgba[:, :3] + (1 - rgba[:, 3:])
    assert (over_white.amin((1, 2, 3)) >= 0.2 - 1e-6).all()
    assert ((rgba[:, 3] > before[:, 3] + 0.1).flatten(1).any(1)).float().mean() > 0.8


@pytest.mark.usefixtures("always")
def test_a_crossing_hand_hides_the_joints_it_covers_and_no_others():
    rgba = squares(40)
    before = rgba.clone()
    grid = torch.stack(torch.meshgrid(torch.linspace(17, 46, 7), torch.linspace(17, 46, 3), indexing="xy"), -1)
    joints = grid.reshape(1, 21, 2).expand(40, 21, 2)
    visible = torch.ones(40, 21, dtype=torch.bool)
    visible[:, 0] = False
    cross_hands(np.random.default_rng(0), rgba, joints, visible)
    assert not visible[:, 0].any()
    at = joints.round().long()
    pictures = torch.arange(40)[:, None]
    changed = (rgba - before)[pictures, :3, at[..., 1], at[..., 0]].abs().amax(-1)
    hidden = ~visible
    hidden[:, 0] = False
    # Neighbours in the list are of the other colour: what is hidden shows it, what is not keeps its own.
    assert (changed[hidden] > 0.2).all()
    assert (changed[visible] < 0.35).all()
    assert hidden.any(1).float().mean() > 0.2
    covered = (rgba[:, 3] - before[:, 3]).flatten(1).amax(1) > 0.5
    assert covered.float().mean() > 0.9


def test_most_hands_are_left_alone():
    rgba = squares(200)
    before = rgba.clone()
    rng = np.random.default_rng(0)
    blur_hands(rng, rgba)
    cast_shadows(rng, rgba)
    untouched = (rgba == before).flatten(1).all(1).float().mean()
    # 0.88 * 0.7 of 200, give or take five standard deviations.
    assert untouched == pytest.approx(0.88 * 0.7, abs=0.17)
