"""Records come from strangers: what is wrong is refused, what is hostile stays text."""

import json

import pytest

from sam_edge_benchmarks.errors import RecordError
from sam_edge_benchmarks.record import MAX_BYTES, read_record, write_record

from .conftest import record, result


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "record.json"
    write_record(record(result(mask_ious=[1.0, 0.5])), path)
    return path


def edited(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return path


def test_a_record_reads_back_equal(written):
    assert read_record(written) == record(result(mask_ious=[1.0, 0.5]))


def test_no_partial_file_stays(written):
    assert [file.name for file in written.parent.iterdir()] == ["record.json"]


def test_unknown_keys_are_left_alone(written):
    assert read_record(edited(written, lambda content: content.update(new=1))).results


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.update(schema=2), "schema 2"),
        (lambda c: c.update(kind="else"), "no benchmark record"),
        (lambda c: c.pop("machine"), "machine"),
        (lambda c: c.update(created="x" * 1000), "created"),
        (lambda c: c.update(created=7), "created"),
        (lambda c: c["results"][0].update(status="great"), "status"),
        (lambda c: c["results"][0].update(mask_ious=[2]), "between 0 and 1"),
        (lambda c: c["results"][0]["phases"][0].update(samples_seconds=[-1]), "samples_seconds"),
        (lambda c: c["results"][0]["phases"][0].update(samples_seconds=[]), "at least one"),
        (lambda c: c["results"][0]["phases"][0].update(samples_seconds=["1"]), "samples_seconds"),
        (lambda c: c["results"][0]["phases"][0].update(peak_rss_bytes=True), "peak_rss_bytes"),
        (lambda c: c["results"][0]["work"].update(image_size="big"), "image_size"),
        (lambda c: c.update(results=[3]), "results"),
        (lambda c: c.update(machine={"a": {"b": {"c": {"d": {"e": {"f": {}}}}}}}), "deeply"),
    ],
)
def test_what_the_schema_does_not_allow_is_refused(written, edit, message):
    with pytest.raises(RecordError, match=message):
        read_record(edited(written, edit))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"kind": NaN}'])
def test_what_is_no_record_is_one_line(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(RecordError) as caught:
        read_record(path)
    assert "\n" not in str(caught.value)


def test_a_huge_file_is_not_even_read(tmp_path):
    path = tmp_path / "record.json"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(RecordError, match="bytes"):
        read_record(path)
