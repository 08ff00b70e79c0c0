import pytest

from posekit.apps import train_data


@pytest.fixture
def few_hands_at_a_time(monkeypatch):
    """Parts of 64 make the first hands the same however many are asked for; a test needs but a few."""
    monkeypatch.setattr(train_data, "_CHUNK", 4)
