import ctypes
import sys

import pytest
import torch

from etpick.engine import CPU, free_bytes, is_out_of_memory, keeping_memory, or_on_the_processor


class Libc:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def mallopt(self, what: int, value: int) -> None:
        self.asked.append(f"{what} {value}")

    def malloc_trim(self, pad: int) -> None:
        self.asked.append("trim")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_memory_is_given_back_when_the_outermost_no_longer_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = Libc()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: libc)
    with keeping_memory():
        with keeping_memory():
            pass
        assert "trim" not in libc.asked
    assert libc.asked[-1] == "trim"
    libc.asked.clear()
    with pytest.raises(KeyError), keeping_memory():
        raise KeyError
    assert libc.asked[-1] == "trim"


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate",
        "cuFFT error: CUFFT_ALLOC_FAILED",
        "DefaultCPUAllocator: can't allocate memory",
    ],
)
def test_libraries_of_a_card_say_in_their_own_words_that_memory_ran_out(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text)) and not is_out_of_memory(RuntimeError("shapes do not fit"))


def test_work_goes_to_the_processor_for_lack_of_memory_alone() -> None:
    def work(device: torch.device) -> str:
        if device.type != "cpu":
            raise error
        return "done"

    card, said = torch.device("cuda"), list[str]()
    error = RuntimeError("CUDA out of memory")
    assert or_on_the_processor(card, work, said.append) == "done"
    assert said == ["out of memory on cuda: the processor takes over"]
    error = RuntimeError("shapes do not fit")
    with pytest.raises(RuntimeError, match="shapes"):
        or_on_the_processor(card, work, said.append)

    def full(device: torch.device) -> str:
        raise MemoryError

    with pytest.raises(MemoryError):
        or_on_the_processor(CPU, full, said.append)
    assert len(said) == 1


def test_what_pytorch_keeps_on_a_card_for_reuse_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("mem_get_info", (100, 800)), ("memory_reserved", 70), ("memory_allocated", 30)):
        monkeypatch.setattr(f"torch.cuda.{name}", lambda device, value=value: value)
    assert free_bytes(torch.device("cuda")) == 140
