"""What keeps results the same to the last bit, whatever the machine does beside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """More threads would add in another order, and so change last digits."""
    with threadpool_limits(1, user_api="blas"):
        yield
