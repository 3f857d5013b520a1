"""Comparisons that may be made, and the others."""

from dataclasses import replace

import pytest

from sam_edge_benchmarks.compare import compare, compare_text
from sam_edge_benchmarks.errors import DifferentWorkError
from sam_edge_benchmarks.statistics import median_ratio, paired_ratio

from .conftest import WORK, record, result


def test_twice_as_fast_is_half_the_time():
    changes = compare(record(result(seconds=2.0)), record(result(seconds=1.0)))
    assert [change.phase for change in changes] == [
        "preprocess",
        "encode",
        "decode (1)",
        "postprocess (1)",
    ]
    assert all(change.ratio.estimate == pytest.approx(0.5) for change in changes)
    assert {change.verdict for change in changes} == {"faster"}


def test_a_record_does_not_differ_from_itself():
    changes = compare(record(result()), record(result()))
    assert {change.verdict for change in changes} == {"no clear change"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_size", 512),
        ("weights", "seeded:1"),
        ("photo_sha256", "cd" * 32),
        ("points_per_side", 32),
    ],
)
def test_different_work_is_refused_unless_forced(field, value):
    before, after = record(result()), record(result(work=replace(WORK, **{field: value})))
    with pytest.raises(DifferentWorkError, match=field):
        compare(before, after)
    assert compare(before, after, force=True)


def test_other_prompts_are_never_compared():
    fewer, more = result(), result()
    more.phases = [replace(phase, prompts=phase.prompts and 64) for phase in more.phases]
    phases = [change.phase for change in compare(record(fewer), record(more))]
    assert phases == ["preprocess", "encode"]


def test_records_without_a_common_subject_are_refused():
    with pytest.raises(DifferentWorkError, match="share no subject"):
        compare(record(result()), record(result("bundle/openvino/fp32")))


def test_the_interval_is_the_same_every_time():
    before, after = [1.0, 1.3, 0.9, 1.1], [1.2, 1.0, 1.4, 1.1]
    assert median_ratio(before, after, seed=7) == median_ratio(before, after, seed=7)
    assert median_ratio(before, after, seed=7) != median_ratio(before, after, seed=8)


def test_the_interval_holds_the_estimate():
    interval = median_ratio([1.0, 1.3, 0.9, 1.1, 1.0], [1.2, 1.0, 1.4, 1.1, 1.2])
    assert interval.low <= interval.estimate <= interval.high


def test_two_samples_say_nothing_about_their_spread():
    assert median_ratio([1.0, 2.0], [1.0, 2.0, 3.0]) is None
    assert paired_ratio([(1.0, 2.0), (1.0, 2.0)]) is None


def test_pairs_cancel_a_machine_that_drifts():
    pairs = [(speed, 0.8 * speed) for speed in (1.0, 3.0, 9.0, 2.0)]
    assert paired_ratio(pairs).estimate == pytest.approx(0.8)
    assert paired_ratio(pairs).high == pytest.approx(0.8)


def test_the_table_is_markdown():
    text = compare_text(compare(record(result(seconds=2.0)), record(result(seconds=1.0))))
    assert "0.500" in text
    assert "faster" in text
