"""What the comparison says of figures that are given to it: verdicts, tables, the page, the JSON, the plots."""

import json

import pytest

from compare import plot, report, targets
from compare.contestants import DIRECT, OURS, SPLICING_YARDSTICK, YARDSTICK
from compare.results import Results
from compare.scenarios import Figure
from compare.tables_scenarios import EMPTY, FULL

META = {"versions": {"mc-proxy": "1.2.3", "haproxy": "2.6"}, "scale": 1.0, "rate": 5000, "date": "2026-01-02", "cpus": 2, "cpu": "some",
        "kernel": "6.1", "load_average": 0.1, "realtime": False}
SHORT = Figure("short", "short connection", "us CPU")


@pytest.fixture
def results():
    return Results(dict(META))


def fill(results, figure, **rows):
    """rows: contestants, each a list of values by round."""
    names = {"ours": OURS, "splice": SPLICING_YARDSTICK, "direct": DIRECT, "empty": EMPTY, "full": FULL}
    rounds = max(len(values) for values in rows.values())
    results.rounds = 0
    for name in rows:
        results.expect(figure, names.get(name, name))
    for number in range(rounds):
        results.begin_round()
        for name, values in rows.items():
            if values[number] is not None:
                results.add(figure.key, names.get(name, name), values[number])


def row_of(results, figure, against):
    return next(r for r in targets.judge(results) if r["figure"] == figure and r["against"] == against)


@pytest.mark.parametrize("ours, verdict", [(94.0, "met"), (95.0, "met"), (95.1, "missed")])
def test_a_target_is_met_up_to_its_value(results, ours, verdict):
    fill(results, SHORT, ours=[ours] * 3, haproxy=[100.0] * 3, nginx=[110.0] * 3)
    row = row_of(results, "short", targets.BEST_RIVAL)
    assert (row["verdict"], row["best_rival"], row["rival"]) == (verdict, "haproxy", 100.0)


@pytest.mark.parametrize("ours, text", [([90.0, 91.0, 92.0], "met"), ([90.0, 94.0, 99.0], "met ~"), ([93.0, 96.0, 97.0], "missed ~"),
                                        ([96.0, 97.0, 99.0], "missed")])
def test_a_verdict_within_the_noise_is_marked(results, ours, text):
    fill(results, SHORT, ours=ours, haproxy=[100.0] * 3)
    line = next(li for li in report.everything(results).splitlines() if "<= 0.95 of the best rival" in li)
    assert [cell.strip() for cell in line.split("|")][4] == text


@pytest.mark.parametrize("ours, verdict", [(1.9, "met"), (1.8, "met"), (1.7, "missed")])
def test_of_a_factor_more_is_better_and_the_best_rival_has_the_most(results, ours, verdict):
    fill(results, Figure("workers", "factor", "times", True), ours=[ours], haproxy=[1.8], nginx=[1.2])
    row = row_of(results, "workers", targets.BEST_RIVAL)
    assert (row["verdict"], row["best_rival"]) == (verdict, "haproxy")


def test_the_block_list_is_held_against_haproxy_even_if_another_is_better(results):
    fill(results, Figure("blocked", "blocked", "us"), ours=[8.0], haproxy=[10.0], nginx=[5.0])
    row = row_of(results, "blocked", "haproxy")
    assert (row["measured"], row["verdict"], row["best_rival"]) == (0.8, "met", "nginx")


def test_a_limit_is_held_against_the_median_itself(results):
    fill(results, Figure("start", "start", "s"), ours=[1.4, 1.6, 1.51], haproxy=[9.0, 9.0, 9.0])
    assert row_of(results, "start", targets.LIMIT)["measured"] == 1.51
    assert row_of(results, "start", targets.LIMIT)["verdict"] == "missed"


def test_a_proxy_is_held_against_itself(results):
    fill(results, Figure("loaded", "loaded", "us"), empty=[50.0, 60.0], full=[51.0, 61.2])
    row = row_of(results, "loaded", targets.ITSELF)
    assert (row["measured"], row["ours"], row["itself"]) == (pytest.approx(1.02), 56.1, 55.0)


def test_the_yardstick_is_the_better_of_both(results):
    fill(results, Figure("download", "bulk", "s"), ours=[0.3], haproxy=[0.9], yardstick=[0.4], splice=[0.2])
    assert results.best_yardstick("download") == SPLICING_YARDSTICK
    fill(results, SHORT, ours=[1.0], yardstick=[0.9])
    assert results.best_yardstick("short") == YARDSTICK


def test_added_latency_is_less_that_without_a_proxy_in_the_same_round(results):
    fill(results, Figure("latency_p50", "latency p50", "us"), ours=[90.0, 100.0, 80.0], haproxy=[95.0, 105.0, None],
         direct=[40.0, 50.0, 30.0])
    results.derive_added_latency()
    assert results.values["added_p50"] == {OURS: [50.0, 50.0, 50.0], "haproxy": [55.0, 55.0]}
    assert row_of(results, "added_p50", targets.BEST_RIVAL)["measured"] == pytest.approx(50 / 55)


def test_what_failed_is_not_counted_and_is_told(results):
    fill(results, SHORT, ours=[50.0, None, 52.0], haproxy=[100.0, 100.0, 100.0])
    results.fail("short", OURS, "2 of 8000 failed")
    assert results.values["short"][OURS] == [50.0, None, 52.0]
    assert row_of(results, "short", targets.BEST_RIVAL)["rounds"] == 2
    assert "2 of 8000 failed" in report.everything(results)


def test_a_figure_without_a_value_is_no_success(results):
    results.begin_round()
    for name in (OURS, "haproxy"):
        results.expect(SHORT, name)
    assert row_of(results, "short", targets.BEST_RIVAL)["verdict"] == "not measured"
    assert "not measured" in report.everything(results)


@pytest.mark.parametrize("value, text", [(None, "-"), (0, "0.00"), (0.0446, "0.045"), (0.99, "0.990"), (1.234, "1.23"), (99.99, "99.99"),
                                         (3375.4, "3,375"), (-12.3, "-12.30"), (-4000.0, "-4,000")])
def test_numbers_are_short(value, text):
    assert report.number(value) == text


def test_the_report_tells_targets_medians_and_versions(results):
    fill(results, SHORT, ours=[50.0] * 4, haproxy=[60.0] * 4, yardstick=[48.0] * 4)
    text = report.everything(results)
    assert "<= 0.95 of the best rival" in text and "0.833 (0.833 to 0.833)" in text and "60.00 (haproxy)" in text
    assert "haproxy 2.6" in text and "4 rounds" in text and "No measurement failed." in text


def test_a_rerun_replaces_the_figures_of_the_page_and_nothing_else(tmp_path):
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write_between_marks(page, "first")
    report.write_between_marks(page, "second")
    assert page.read_text() == f"before\n{report.BEGIN}\n\nsecond\n\n{report.END}\nafter\n"


@pytest.mark.parametrize("text", ["", report.BEGIN, report.END, f"{report.END} {report.BEGIN}"])
def test_a_page_without_place_for_figures_stays_as_it_is(tmp_path, text):
    page = tmp_path / "performance.md"
    page.write_text(text)
    with pytest.raises(ValueError):
        report.write_between_marks(page, "figures")
    assert page.read_text() == text


def test_the_json_has_every_value_and_what_failed(results, tmp_path):
    fill(results, SHORT, ours=[50.0, None], haproxy=[60.0, 61.0])
    results.fail("short", OURS, "why")
    results.save(tmp_path / "bench.json", targets.judge(results))
    saved = json.loads((tmp_path / "bench.json").read_text())
    assert saved["figures"][0]["values"] == {OURS: [50.0], "haproxy": [60.0, 61.0]}
    assert saved["figures"][0]["medians"]["haproxy"] == 60.5
    assert saved["failures"] == [{"round": 2, "scenario": "short", "contestant": OURS, "why": "why"}]
    assert saved["meta"]["rounds"] == 2 and saved["targets"][0]["verdict"] == "met"


def test_plots_are_drawn_of_what_there_is(results, tmp_path):
    fill(results, SHORT, ours=[50.0], haproxy=[60.0], yardstick=[45.0])
    fill(results, Figure("idle", "idle", "bytes"), ours=[131.0], haproxy=[3375.0])
    assert [name for _, name in plot.draw_all(results, tmp_path)] == ["cpu.svg", "memory.svg"]
    drawn = (tmp_path / "cpu.svg").read_text()
    assert "<svg" in drawn and "517 B hello" in drawn and "haproxy" in drawn


def test_bars_are_relative_to_ours_and_have_gaps_where_nothing_was_measured(results):
    fill(results, SHORT, ours=[50.0], haproxy=[60.0], nginx=[None])
    fill(results, Figure("blocked", "blocked", "us"), ours=[10.0], nginx=[20.0])
    lines = plot.script(results, plot.PLOTS[0]).splitlines()
    assert '"short\\n517 B hello" 1 1.2 ?' in lines
    assert '"blocked" 1 ? 2' in lines


def test_a_bar_that_leaves_the_picture_has_its_value_in_it(results):
    fill(results, SHORT, ours=[10.0], haproxy=[93.0])
    label = next(li for li in plot.script(results, plot.PLOTS[0]).splitlines() if li.startswith('set label "9.30"'))
    assert ",2.5 rotate" in label and "right" in label
