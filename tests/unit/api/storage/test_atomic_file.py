"""Whatever is written in whatever order, the published file is what an ordinary one would be."""

import os
import pathlib
import tempfile
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftrackd.api.accessor import _atomic_file
from ftrackd.api.accessor._atomic_file import AtomicFile
from ftrackd.api.data import File

#: Small chunks, so that few operations meet every edge.
CHUNK = 16

operations = st.lists(
    st.one_of(
        st.tuples(
            st.just("write"),
            st.sampled_from([bytes(CHUNK), b"a" * CHUNK, b"bc", b"", bytes(3), bytearray(b"d" * CHUNK)]),
        ),
        st.tuples(st.just("seek"), st.integers(0, 3 * CHUNK)),
        st.tuples(st.just("read"), st.sampled_from([None, 1, CHUNK])),
        st.tuples(st.just("tell"), st.none()),
        st.tuples(st.just("flush"), st.none()),
    ),
    max_size=12,
)


@pytest.fixture
def small_chunks(monkeypatch) -> None:
    monkeypatch.setattr(_atomic_file, "_ZEROS", bytes(CHUNK))


def perform(data: Any, operation: str, argument: Any) -> Any:
    if operation in ("tell", "flush"):
        return getattr(data, operation)()
    return getattr(data, operation)(argument)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=operations)
def test_when_written_in_any_order_then_it_is_as_an_ordinary_file(small_chunks, operations) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ordinary = File(os.path.join(folder, "ordinary"), "w+b")
        atomic = AtomicFile(os.path.join(folder, "atomic"), "w+b")
        for operation in operations:
            assert perform(atomic, *operation) == perform(ordinary, *operation)
        ordinary.close()
        atomic.close()
        assert pathlib.Path(folder, "atomic").read_bytes() == pathlib.Path(folder, "ordinary").read_bytes()
        assert sorted(os.listdir(folder)) == ["atomic", "ordinary"]


def test_when_zeros_are_written_over_data_then_zeros_are_there(small_chunks, tmp_path) -> None:
    """A hole is only a hole where nothing was before."""
    with AtomicFile(str(tmp_path / "file")) as data:
        data.write(b"a" * CHUNK)
        data.seek(0)
        data.write(bytes(CHUNK))
    assert (tmp_path / "file").read_bytes() == bytes(CHUNK)
