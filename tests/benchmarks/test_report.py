"""What readers see: escaped, complete, and honest about what was not measured."""

from html.parser import HTMLParser

import pytest

from sam_edge_benchmarks.errors import BenchmarkError
from sam_edge_benchmarks.readme import END, START, readme_block, updated_readme
from sam_edge_benchmarks.record import Versus, write_record
from sam_edge_benchmarks.report.markdown import markdown_report
from sam_edge_benchmarks.report.page import html_report
from sam_edge_benchmarks.work import Work

from .conftest import record, result

HOSTILE = "</title><script>alert('x')</script>\"><img src=x onerror=alert(1)>|`\x1b[31m"


def hostile_record():
    work = Work(HOSTILE, 1024, HOSTILE, HOSTILE, 1, 1, 1)
    bad = result(
        HOSTILE, work=work, mask_ious=[0.5], reason=HOSTILE, status="failed", reference=HOSTILE
    )
    other = result(HOSTILE + "2", work=work, mask_ious=[0.9])
    bad.model = other.model = HOSTILE
    made = record(
        bad,
        other,
        created=HOSTILE,
        machine={"cpu_model": HOSTILE, "cpu_features": [HOSTILE], "os": HOSTILE},
        software={HOSTILE: HOSTILE},
        git={"commit": HOSTILE},
    )
    made.versus.append(Versus(HOSTILE, HOSTILE, HOSTILE, None, work, HOSTILE, None, ((1.0, 2.0),)))
    return made


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = set()

    def handle_starttag(self, tag, attributes):
        self.found.add(tag)
        assert not any(name.startswith("on") for name, _ in attributes)


def test_hostile_strings_stay_text_on_the_page():
    tags = Tags()
    page = html_report([hostile_record()])
    tags.feed(page)
    assert tags.found.isdisjoint({"script", "img", "iframe", "link"})
    assert "\x1b" not in page


def test_hostile_strings_stay_text_in_markdown():
    text = markdown_report([hostile_record()])
    assert "<script" not in text
    assert "<img" not in text
    assert "\x1b" not in text
    header, _, *rows = [line for line in text.splitlines() if line.startswith("|")][:4]
    assert all(row.count("|") == header.count("|") for row in rows)


def test_the_page_needs_nothing_from_elsewhere():
    page = html_report([record(result())])
    assert "src=" not in page
    assert "href=" not in page
    assert page.count("http://") == page.count('xmlns="http://www.w3.org/2000/svg"')


def test_figures_are_derived_from_the_samples():
    text = markdown_report([record(result(seconds=2.0, mask_ious=[1.0, 0.5]))])
    assert "| 2200 |" in text  # the middle of 2.0, 2.2 and 2.4 s
    assert "| 0.7500 |" in text


def test_no_tail_is_told_from_few_samples():
    assert "p90" not in markdown_report([record(result())])


@pytest.mark.parametrize("write", [markdown_report, html_report])
def test_cuda_that_was_not_measured_is_said_to_be(write):
    assert "CUDA: not yet measured." in write([record(result())])


def test_cpu_and_cuda_stand_side_by_side():
    gpu = result("official-torch/cuda/eager/fp16", 0.01, device={"name": "A GPU"})
    page = html_report(
        [record(result()), record(gpu, machine={"cpu_model": "Other", "usable_cores": 8})]
    )
    assert "CUDA: not yet measured." not in page
    assert "A GPU" in page
    assert page.count("<h2>vit_b at 1024 px</h2>") == 1


def test_what_is_missing_is_a_line():
    missing = result(status="missing", reason="openvino: No module named 'openvino'")
    assert "is missing: openvino" in markdown_report([record(missing)])


def test_a_busy_machine_is_told():
    busy = result(load_before=[7.0, 5.0, 3.0])
    assert "other programs ran" in markdown_report([record(busy)])
    quiet = result(load_before=[0.3, 0.3, 0.3])
    assert "other programs ran" not in markdown_report([record(quiet)])


def test_one_kind_of_result_or_none_makes_a_page():
    assert "Nothing was measured" in html_report([record()])
    broken = result()
    broken.phases = broken.phases[:2]
    assert "svg" in html_report([record(broken)])


def test_readme_drifts_from_its_records(tmp_path):
    path = tmp_path / "machine.json"
    write_record(record(result()), path)
    text = f"# Title\n\n{START}\nold\n{END}\n\nend\n"
    new = updated_readme(text, readme_block([path]))
    assert path.as_posix() in new
    assert new.startswith("# Title\n")
    assert new.endswith("\n\nend\n")
    assert updated_readme(new, readme_block([path])) == new
    write_record(record(result(seconds=3.0)), path)
    assert updated_readme(new, readme_block([path])) != new


def test_readme_without_markers_is_an_error():
    with pytest.raises(BenchmarkError, match="page needs"):
        updated_readme("# Title", "block")
