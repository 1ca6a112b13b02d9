"""The cost curve: exponents of known curves, what counts as too fast, one measurement, and the page of the results."""

import json
import sys

import pytest


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5])
def test_the_exponent_of_a_power_is_that_power(script, power):
    sizes = [10, 20, 50, 400]
    assert script("scale").exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)


def test_what_grows_faster_than_linearly_with_the_data_is_named(script):
    scale = script("scale")
    points = [
        {"medium": "music", "axis": "files", "value": count, "step_s": 1.0, "read_s": count**2, "peak_mb": 5.0}
        for count in (100, 200, 400)
    ]
    assert scale.too_fast(scale.exponents(points)) == [
        "read_s of music grows with files to the power of 2.00, more than 1"
    ]
    linear = [{**point, "read_s": 2.0 * point["value"]} for point in points]
    assert scale.too_fast(scale.exponents(linear)) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of the memory is read from /proc")
def test_a_measurement_trains_a_few_steps_and_says_what_they_cost(script, monkeypatch):
    scale = script("scale")
    monkeypatch.setattr(scale, "widened", lambda *_: {"widths": [8]})
    cost = scale.measure("image", "width", 1)
    assert set(cost) == {"step_s", "read_s", "peak_mb"}
    assert 0 < cost["step_s"] < 10


def test_the_page_is_that_of_the_stored_results(script):
    scale = script("scale")
    if not scale.RESULTS.exists():
        pytest.skip("python experiments/scale.py was not run yet")
    results = json.loads(scale.RESULTS.read_text(encoding="utf-8"))
    assert scale.PAGE.read_text(encoding="utf-8") == scale.page(results)
    assert len(results["exponents"]) == 3 * (2 + 2 + 2 + 3 + 2)
    assert scale.too_fast(results["exponents"]) == []
