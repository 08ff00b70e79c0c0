import torch

from posekit.datasets.hand_workers import drawn_hands, finished_hands
from posekit.datasets.synthetic_hands import SyntheticHands


def test_pictures_are_the_same_for_any_number_of_processes_and_in_order():
    hands = SyntheticHands(3, 32, oversample=1.0)
    seeds = [(1, 5), (1, 6), (1, 7)]
    alone, together = (list(drawn_hands(hands, seeds, 2, processes)) for processes in (1, 2))
    for one, other in zip(alone, together, strict=True):
        for name in ("rgba", "joints_px", "joints", "visible"):
            assert torch.equal(getattr(one, name), getattr(other, name))
    assert not torch.equal(alone[0].joints_px, alone[1].joints_px)
    batches = list(finished_hands(hands, [4, 9], 2))
    for batch, index in zip(batches, (4, 9), strict=True):
        expected = hands.batch(index, 2)
        assert torch.equal(batch.images, expected.images)
        assert torch.equal(batch.visible, expected.visible)
        assert torch.equal(batch.seen_px, expected.seen_px)
