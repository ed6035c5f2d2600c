"""Metrics of ranked lists, on numbers that were worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.recommendation.lists import first
from pipelines.recommendation.metrics import coverage, estimate, hits, per_client

# Three clients, lists of three out of ten products.
LISTS = np.array([[4, 2, 7], [1, 0, -1], [5, 6, 8]])
# Client 0 bought 2, 7 and three others; client 1 bought 1; client 2 nothing.
CLIENT = np.array([0, 0, 0, 0, 0, 1])
PRODUCT = np.array([2, 7, 3, 9, -1, 1])
RELEVANT = np.array([5, 1, 0])


def scores() -> dict[str, np.ndarray]:
    return per_client(hits(LISTS, CLIENT, PRODUCT, 10), RELEVANT)


def test_a_hit_is_a_listed_product_that_the_same_client_bought() -> None:
    hit = hits(LISTS, CLIENT, PRODUCT, 10)
    assert hit.tolist() == [[False, True, True], [True, False, False], [False, False, False]]


def test_an_unknown_product_or_an_empty_place_is_no_hit() -> None:
    assert not hits(np.array([[-1]]), np.array([0]), np.array([-1]), 10).any()


def test_recall_is_hits_over_all_relevant_though_they_be_more_than_k() -> None:
    assert scores()["recall"].tolist() == [2 / 5, 1.0]


def test_the_ideal_of_ndcg_holds_as_many_hits_as_the_list_or_the_client_allows() -> None:
    second, third = 1 / np.log2(3), 1 / np.log2(4)
    assert scores()["ndcg"] == pytest.approx([(second + third) / (1 + second + third), 1.0])


def test_map_sums_precisions_at_hits_over_the_most_hits_possible() -> None:
    assert scores()["map"] == pytest.approx([(1 / 2 + 2 / 3) / 3, 1.0])


def test_clients_without_relevant_products_are_not_in_the_mean() -> None:
    assert all(len(each) == 2 for each in scores().values())


def test_coverage_is_the_share_of_the_catalogue_on_any_list() -> None:
    assert coverage(LISTS, 10) == 0.8


def test_an_interval_is_the_same_each_time_and_narrows_with_more_clients() -> None:
    few, many = np.tile([0.0, 1.0], 20), np.tile([0.0, 1.0], 500)
    assert estimate(few) == estimate(few)
    assert estimate(few).low < 0.5 < estimate(few).high
    assert estimate(many).high - estimate(many).low < estimate(few).high - estimate(few).low


def test_the_interval_of_equal_scores_is_a_point() -> None:
    found = estimate(np.full(30, 0.25))
    assert (found.low, found.mean, found.high) == (0.25, 0.25, 0.25)


def test_lists_are_cut_at_k_and_equal_scores_keep_their_order() -> None:
    client = np.array([0, 0, 0, 2, 2])
    score = np.array([0.1, 0.9, 0.9, 0.3, 0.2])
    assert first(client, score, np.array([0, 1, 2]), 2).tolist() == [[1, 2], [-1, -1], [3, 4]]
