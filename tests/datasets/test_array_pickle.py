import collections
import pickle
from pathlib import Path

import numpy as np
import pytest

import labelled_hand_sets as sets
from posekit.datasets.array_pickle import read_array_pickle
from posekit.datasets.labelled_hands import labelled_hands
from posekit.errors import PosekitError


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
        np.array([1.5, np.nan, -np.inf]),
        np.arange(5, dtype=">u2"),
        np.array([], dtype=np.int8),
        np.array(7.25),
        np.array([True, False]),
    ],
)
def test_arrays_come_back_as_pickle_reads_them(array: np.ndarray, protocol: int, tmp_path: Path) -> None:
    content = {3: {"K": array, "twice": [array, array]}, 4: (1, -70000, 2**40, 0.5, None, True, "uv", b"\xff\n'")}
    path = tmp_path / "a.pickle"
    path.write_bytes(pickle.dumps(content, protocol))
    found = read_array_pickle(path)
    assert list(found) == [3, 4]
    assert found[4] == list(content[4])
    for read in (found[3]["K"], *found[3]["twice"]):
        np.testing.assert_array_equal(read, array)
        assert read.dtype == array.dtype


def test_what_python_2_wrote_is_read(tmp_path: Path) -> None:
    # Protocol 2 of Python 2: texts and the bytes of arrays are both its str, in the commands U (SHORT_BINSTRING).
    raw = np.array([1.0, -2.5], dtype="<f4").tobytes()
    written = (
        b"\x80\x02}q\x00K\x05}q\x01U\x01Kq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85"
        b"U\x01b\x87Rq\x05(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87Rq\x06(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x08" + raw + b"tbss."
    )
    path = tmp_path / "a.pickle"
    path.write_bytes(written)
    found = read_array_pickle(path)
    np.testing.assert_array_equal(found[5]["K"], np.array([1.0, -2.5], dtype=np.float32))


class _Trap:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple:
        return Path.touch, (self.place,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_in_a_pickle_is_run(protocol: int, tmp_path: Path) -> None:
    place = tmp_path / "touched"
    path = tmp_path / "a.pickle"
    path.write_bytes(pickle.dumps({0: {"K": _Trap(place)}}, protocol))
    with pytest.raises(PosekitError, match=r"asks for .*expected nothing but arrays") as told:
        read_array_pickle(path)
    assert "\n" not in str(told.value)
    assert not place.exists()


@pytest.mark.parametrize(
    "content",
    [
        np.array([1, "a"], dtype=object),
        np.array(["text"]),
        np.zeros(2, dtype=[("a", "i4")]),
        collections.OrderedDict(a=1),
        {1, 2},
        1 + 2j,
        np.ndarray,
    ],
)
def test_other_things_than_numbers_are_refused(content: object, tmp_path: Path) -> None:
    path = tmp_path / "a.pickle"
    path.write_bytes(pickle.dumps({0: content}, 2))
    with pytest.raises(PosekitError, match="expected nothing but arrays"):
        read_array_pickle(path)


def test_a_damaged_pickle_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.pickle"
    whole = pickle.dumps(sets.rhd_samples(), 2)
    rng = np.random.default_rng(0)
    damaged = [whole[:length] for length in (0, 1, 2, 50, len(whole) // 2, len(whole) - 1)]
    for place in rng.integers(2, 400, 60):
        damaged.append(whole[:place] + bytes([rng.integers(256)]) + whole[place + 1 :])
    for content in damaged:
        path.write_bytes(content)
        try:
            read_array_pickle(path)
        except PosekitError as told:
            assert "\n" not in str(told)  # noqa: PT017  # some changed bytes are but other numbers
    path.write_bytes(whole[:-1])
    with pytest.raises(PosekitError, match="is no whole pickle"):
        read_array_pickle(path)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_rhd_of_any_protocol(protocol: int, tmp_path: Path) -> None:
    sets.rhd(tmp_path, protocol=protocol)
    labels = labelled_hands("rhd", tmp_path, 64).labels
    assert labels.left.tolist() == [True, False, False]


@pytest.mark.parametrize("lacks", ["uv_vis", "xyz", "K"])
def test_rhd_samples_that_lack_something(lacks: str, tmp_path: Path) -> None:
    sets.rhd(tmp_path)
    samples = sets.rhd_samples()
    del samples[1][lacks]
    (tmp_path / "training" / "anno_training.pickle").write_bytes(pickle.dumps(samples, 2))
    with pytest.raises(PosekitError, match=f"sample 1: found no {lacks}"):
        labelled_hands("rhd", tmp_path, 64)
