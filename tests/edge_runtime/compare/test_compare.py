"""Two reports side by side: real differences are told, chance is not taken for one."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from edge_runtime.cli import main
from edge_runtime.compare.bootstrap import MIN_WINDOWS, interval_percent
from edge_runtime.compare.compare import compare
from edge_runtime.errors import OptionError
from edge_runtime.loop import LoopOptions
from edge_runtime.page.files import write_page
from edge_runtime.policy import LATEST
from edge_runtime.runner import execute
from tests.scripted import FakeClock, ScriptedBackend, ScriptedSource


def noisy(mean_ms, count=900, seed=0, noise_ms=3.0, **camera):
    """The report of a run whose inference time wanders, as on a machine with other work."""
    clock = FakeClock()
    steps = np.random.default_rng(seed).normal(0, noise_ms, count // 30 + 1)
    times = [max(mean_ms + steps[number // 30], 1.0) for number in range(count)]
    source = ScriptedSource(clock, count=count, **camera)
    with ScriptedBackend(clock, infer_ms=times) as backend:
        report = execute(
            backend, source, backend.manifest, LoopOptions(policy=LATEST, clock=clock)
        ).report
    return json.loads(report.to_json())


@pytest.fixture(scope="module")
def base():
    return noisy(15.0)


def figure(comparison, name):
    (found,) = [one for one in comparison.figures if one.name == name]
    return found


def wandering(mean, n=60, seed=0, spread=0.05):
    """Values of windows of which neighbours are alike."""
    steps = np.random.default_rng(seed).normal(0, spread, n)
    return mean * (1 + np.convolve(steps, np.ones(4) / 2, "same"))


def test_two_runs_alike_are_taken_for_the_same_nearly_always():
    wrong = 0
    for seed in range(40):
        low, high = interval_percent(
            wandering(20, seed=seed), wandering(20, seed=seed + 1000), "mean"
        )
        wrong += not low <= 0 <= high
    assert wrong <= 6, "one in twenty by design; blocks are short, so a little more"


def test_a_run_slower_by_a_tenth_is_found():
    low, high = interval_percent(wandering(20), wandering(22, seed=7), "median")

    assert 0 < low < 10 < high < 20


def test_few_windows_tell_nothing():
    few = np.ones(MIN_WINDOWS - 1)

    assert interval_percent(few, wandering(1), "mean") is None
    assert interval_percent(np.zeros(20), wandering(1), "mean") is None


def test_weights_make_the_mean_that_of_frames():
    values, weights = np.array([1.0, 3.0] * 10), np.array([3.0, 1.0] * 10)

    low, high = interval_percent(values, np.full(20, 3.0), "mean", (weights, np.ones(20)))

    assert low <= 100 <= high, "3 is twice the weighted mean of 1.5"


def test_a_slower_network_is_worse_and_a_faster_one_better(base):
    slower, faster = noisy(20.0, seed=1), noisy(11.0, seed=2)

    worse, better = compare(base, slower), compare(base, faster)

    assert figure(worse, "result mean").verdict == "worse"
    assert figure(worse, "result mean").change_percent > 15
    assert figure(better, "result mean").verdict == "better"
    assert figure(worse, "masks per second").verdict == "same", "the camera sets the pace"
    assert [failed.name for failed in worse.failures(10)] == ["result mean", "longest per 1 s"]
    assert worse.failures(90) == []
    assert better.failures(0) == []


def test_another_run_of_the_same_is_the_same(base):
    again = compare(base, noisy(15.0, seed=3))

    assert {one.verdict for one in again.figures if one.judged} == {"same"}
    assert again.failures(0) == []


def test_a_network_too_slow_for_the_camera_loses_masks_per_second(base):
    comparison = compare(base, noisy(60.0, seed=4))

    assert figure(comparison, "masks per second").verdict == "worse"
    assert figure(comparison, "frames dropped").theirs > 40


def test_latencies_from_different_clocks_are_not_compared(base):
    with pytest.raises(OptionError, match="different clocks"):
        compare(base, noisy(15.0, arrival_ms=5.0))


def test_what_else_differs_is_told(base):
    other = json.loads(json.dumps(base))
    other["device"]["power_mode"] = "15W"
    other["throttled"] = True

    remarks = compare(base, other).remarks

    assert remarks == ("device power_mode: not known and 15W", "throttled: not known and True")


def test_a_short_run_cannot_be_judged_and_fails_no_gate_silently(base, tmp_path, capsys):
    short = noisy(30.0, count=120)
    for name, report in (("a.json", base), ("b.json", short)):
        (tmp_path / name).write_text(json.dumps(report))
    paths = [str(tmp_path / name) for name in ("a.json", "b.json")]

    assert main(["compare", *paths]) == 0
    assert main(["compare", *paths, "--fail-if-worse", "5"]) == 2

    said = capsys.readouterr()
    assert "too short" in said.out
    assert "too short to judge result mean" in said.err


def test_the_exit_code_is_for_ci_and_pages_are_read_as_well(base, tmp_path, capsys):
    slower = noisy(20.0, seed=1)
    write_page(tmp_path / "a.html", base)
    (tmp_path / "b.json").write_text(json.dumps(slower))
    paths = [str(tmp_path / name) for name in ("a.html", "b.json")]

    assert main(["compare", *paths]) == 0
    assert main(["compare", *paths, "--fail-if-worse", "80"]) == 0
    assert main(["compare", *reversed(paths), "--fail-if-worse", "0"]) == 0
    capsys.readouterr()
    assert main(["compare", *paths, "--fail-if-worse", "10", "--json"]) == 1

    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["schema"] == "hyperseg-edge.comparison/1"
    assert "bootstrap" in found["method"]
    assert said.err.startswith("hyperseg: b.json: result mean is worse by ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"schema": "hyperseg-edge.bench/1", "models": []}, "kind"),
        ({"schema": "x"}, "no report of"),
        (None, "cannot read"),
    ],
)
def test_reports_that_do_not_belong_together_are_a_mistake(base, other, says, tmp_path, capsys):
    (tmp_path / "a.json").write_text(json.dumps(base))
    if other is not None:
        (tmp_path / "b.json").write_text(json.dumps(other))

    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 2

    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("limit", ["-1", "nan", "inf"])
def test_a_limit_that_cannot_be_is_a_mistake(limit, capsys):
    assert main(["compare", "a", "b", "--fail-if-worse", limit]) == 2


def rig(**cameras):
    return {
        "schema": "hyperseg-edge.cameras/1",
        "cameras": [{"name": name, "report": report} for name, report in cameras.items()],
    }


def test_cameras_are_compared_by_name(base):
    slower = noisy(20.0, seed=1)

    comparison = compare(rig(front=base, back=base), rig(back=slower, front=base))

    assert figure(comparison, "front: result mean").verdict == "same"
    assert figure(comparison, "back: result mean").verdict == "worse"
    with pytest.raises(OptionError, match="no camera or model of the same name"):
        compare(rig(front=base), rig(rear=base))


def evaluation(miou, **changes):
    return {
        "miou": miou, "iou": {"road": 0.9, "car": None}, "accuracy": 0.95, "confusion": [[1]],
        "protocol": "p", "classes": ["road", "car"], "dataset": "d", "split": "test", "images": 9,
        "label_sizes": [[4, 4]], **changes,
    }  # fmt: skip


def test_evaluations_of_the_same_images_are_compared_without_a_test():
    comparison = compare(evaluation(0.70), evaluation(0.69))

    miou = figure(comparison, "mIoU")
    assert (miou.verdict, miou.interval_percent) == ("worse", None)
    assert comparison.failures(1.0) == [miou]
    assert comparison.failures(2.0) == []
    assert "IoU car" not in {one.name for one in comparison.figures}, "absent in both"


@pytest.mark.parametrize("key", ["protocol", "split", "images"])
def test_evaluations_of_different_things_are_not_compared(key):
    with pytest.raises(OptionError, match=f"differ in {key}"):
        compare(evaluation(0.7), evaluation(0.7, **{key: "else"}))


def bench(median, curve=(), backend="onnxruntime 1.31.1 (CPU)"):
    summary = {"min": 1, "max": 2, "mean": median, "median": median, "variation": 0.01,
               "percentiles": {"p90": median, "p95": median, "p99": median}}  # fmt: skip
    model = {
        "label": "m",
        "identity": {"backend": backend},
        "metrics_ms": {"wall": summary, "h2d": None},
        "throughput_qps": 1e3 / median,
        "masks": {"agreement": None},
        "curve": [{"p50_ms": value} for value in curve],
    }
    return {"schema": "hyperseg-edge.bench/1", "models": [model], "device": {"soc": "x"}}


def test_benches_are_tested_by_the_windows_of_a_sustained_measurement():
    sustained = compare(bench(20.0, wandering(20)), bench(22.0, wandering(22, seed=5)))
    single = compare(bench(20.0), bench(22.0))

    assert figure(sustained, "wall median").interval_percent is not None
    assert figure(sustained, "wall median").verdict == "worse"
    assert figure(single, "wall median").interval_percent is None
    assert figure(single, "wall median").verdict == "worse"
    assert asdict(figure(single, "throughput"))["change_percent"] == pytest.approx(-9.1, abs=0.1)


def test_another_form_of_the_same_engine_is_told_where_long_names_begin_alike():
    forms = [
        f"onnxruntime 1.31.1 (CPU; {words}; tuned: threads 1, spinning within-run)"
        for words in ("plain convolutions: switched off", "convolutions in blocks of 16")
    ]
    (remark,) = compare(*(bench(20.0, backend=form) for form in forms)).remarks
    assert remark == (
        "m: backend: onnxruntime 1.31.1 (CPU; plain convol... and "
        "onnxruntime 1.31.1 (CPU; convolutions..."
    )
    assert not compare(bench(20.0), bench(21.0)).remarks


@pytest.mark.parametrize("kind", ["latency", "cameras", "soak", "bench"])
def test_an_incomplete_report_is_named_in_one_line(kind, tmp_path, capsys):
    (tmp_path / "a.json").write_text(json.dumps({"schema": f"hyperseg-edge.{kind}/1"}))

    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]) == 2

    said = capsys.readouterr().err
    assert said.startswith("hyperseg: error: a.json is no complete report of ours: it lacks '")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "change", [{"latency_ms": None}, {"device": 3}, {"source": {"uri": "x"}}, {"history": [1]}]
)
def test_the_report_that_lacks_a_part_is_the_one_named(base, change):
    with pytest.raises(OptionError, match=r"^after\.json is no complete report"):
        compare(base, base | change, ("before.json", "after.json"))


def test_a_score_that_is_no_number_is_refused():
    report = {"miou": "high", "iou": {}, "confusion": []}
    with pytest.raises(OptionError, match=r"^A is no complete report"):
        compare(report, report)
