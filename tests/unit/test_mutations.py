"""The mutations of `make test-mutations` are of the code as it is."""

from __future__ import annotations

import pytest

from tests.conformance.mutations import MUTATIONS, REPOSITORY, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_finds_its_text_once(mutation: Mutation) -> None:
    assert (REPOSITORY / mutation.file).read_text().count(mutation.old) == 1
    cases = REPOSITORY / "tests" / "conformance" / "cases"
    assert all((cases / case).is_dir() for case in mutation.red)
