import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from posekit.geometry.chunks import even_slices, map_chunks

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("chunks", [[], [7], list(range(20))])
def test_it_is_a_list_in_order(threads, chunks):
    assert map_chunks(lambda chunk: chunk * chunk, iter(chunks), CPU) == [chunk * chunk for chunk in chunks]
    assert torch.get_num_threads() == threads


def test_as_many_chunks_are_in_work_as_torch_has_threads(threads):
    """Every chunk waits until as many as there are threads have begun: fewer at a time would wait for ever."""
    gate = threading.Barrier(threads)
    working = map_chunks(lambda _: (gate.wait(timeout=20), torch.get_num_threads())[1], range(2 * threads), CPU)
    assert working == [1] * (2 * threads)  # the operations of a chunk are not shared out once more


def test_another_device_is_given_one_chunk_after_the_other(threads):
    names = map_chunks(lambda _: threading.current_thread().name, range(4), torch.device("meta"))
    assert set(names) == {threading.current_thread().name}


def test_what_goes_wrong_is_raised_and_the_setting_is_as_it_was(threads):
    def fail(chunk: int) -> int:
        if chunk == 2:
            raise ValueError("the third")
        return chunk

    with pytest.raises(ValueError, match="the third"):
        map_chunks(fail, range(5), CPU)
    assert torch.get_num_threads() == threads


def test_several_threads_of_the_caller_at_once(threads):
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda start: map_chunks(lambda c: c + start, range(6), CPU), (0, 100, 200)))
    assert found == [[c + start for c in range(6)] for start in (0, 100, 200)]
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("total", "largest"), [(0, 10), (1, 10), (10, 10), (11, 10), (20000, 4681), (4000, 4681), (700, 4681)]
)
def test_slices_hold_every_row_once_and_are_no_larger_than_asked(total, largest):
    slices = even_slices(total, largest, torch.device("cpu"))
    assert [row for part in slices for row in range(total)[part]] == list(range(total))
    sizes = [part.stop - part.start for part in slices]
    assert max(sizes) <= largest
    assert max(sizes) - min(sizes) <= 1


def test_threads_get_as_many_slices_each(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    cpu, other = torch.device("cpu"), torch.device("meta")
    assert len(even_slices(20000, 4681, cpu)) == 6  # five would leave one thread with a third of the work to do alone
    assert len(even_slices(4000, 4681, cpu)) == 2
    assert len(even_slices(700, 4681, cpu)) == 1  # not worth a second thread
    assert len(even_slices(20000, 4681, other)) == 5
