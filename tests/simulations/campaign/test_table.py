"""The table of the README: what is measured, and how it gets into the file."""

import pytest

from simulations.campaign.table import BEGIN, END, MAX_RUNS, Cell, Row, as_markdown, cells, measure, put_into
from simulations.report.recording import Spread


def test_every_size_is_measured_at_every_loss_and_small_clusters_more_often() -> None:
    found = cells((10, 300), (0.0, 0.5))
    assert [(cell.nodes, cell.loss) for cell in found] == [(10, 0.0), (10, 0.5), (300, 0.0), (300, 0.5)]
    assert [cell.seeds for cell in found] == [MAX_RUNS, MAX_RUNS, 1, 1]


def test_a_cell_tells_how_a_cluster_comes_together_and_what_it_costs() -> None:
    quiet, lossy = measure(Cell(6, 0.0, 2)), measure(Cell(6, 0.5, 2))
    assert quiet.failed == lossy.failed == ()
    assert quiet.catch_up.count == lossy.catch_up.count == 12
    assert 0 < quiet.catch_up.p50 <= quiet.catch_up.p99 <= quiet.catch_up.most < lossy.catch_up.most
    assert quiet.missed_by_push < lossy.missed_by_push
    assert 1 <= quiet.redundancy < lossy.redundancy
    assert quiet.bytes_a_node_second > quiet.bytes_at_rest > 50


ROW = Row(Cell(1000, 0.3, 1), Spread(9, 0.5, 2.25, 3.0), 1234.5, 310.0, 2.0, 0.125)


def test_a_row_reads_well() -> None:
    *_, line = as_markdown([ROW]).splitlines()
    assert line == "| 1,000 | 30% | 0.50 s | 2.25 s | 3.00 s | 1,234 | 310 | 2.00 | 12.5% |"


def test_the_table_takes_the_place_of_the_one_before_and_nothing_else_changes() -> None:
    text = f"above\n\n{BEGIN}\n\nold\n\n{END}\n\nbelow\n"
    new = put_into(text, as_markdown([ROW]))
    assert new.startswith(f"above\n\n{BEGIN}\n")
    assert new.endswith(f"{END}\n\nbelow\n")
    assert "old" not in new
    assert put_into(new, as_markdown([ROW])) == new


def test_a_file_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no lines"):
        put_into("no place", "table")
