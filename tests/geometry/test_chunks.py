import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from posekit.geometry.chunks import map_chunks

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
