"""What a batch that does not fit is answered with; the messages are XLA's own wordings."""

import jax
import pytest

from palaestra.sim.memory import OutOfMemoryError, advice, out_of_memory

GIB = 2**30
ASKED = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 42949672960 bytes."
UNITS = "RESOURCE_EXHAUSTED: Attempting to reserve 40.00GiB at the bottom of memory. There are 12.00GiB free."


@pytest.mark.parametrize("message", [ASKED, UNITS])
def test_the_size_that_would_fit_follows_from_what_was_wanted_and_what_is_there(message):
    # 40 GiB wanted for 16,384 environments, 20 there: with a tenth to spare 7,372, so 4,096 as a power of two.
    text = advice(16384, message, 20 * GIB)
    assert text.startswith("num_envs: got 16384, which does not fit in the memory of")
    assert text.endswith("(40.0 GiB wanted, 20.0 GiB there). Fix: --num-envs 4096")


def test_half_is_the_advice_where_nothing_is_known():
    assert advice(1024, "RESOURCE_EXHAUSTED", None).endswith("Fix: --num-envs 512")
    assert advice(1, "RESOURCE_EXHAUSTED", None).endswith("Fix: --num-envs 1")


def test_only_memory_errors_are_translated():
    with pytest.raises(OutOfMemoryError, match="num_envs: got 64"), out_of_memory(64):
        raise jax.errors.JaxRuntimeError(ASKED)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INVALID_ARGUMENT"), out_of_memory(64):
        raise jax.errors.JaxRuntimeError("INVALID_ARGUMENT: something else")
