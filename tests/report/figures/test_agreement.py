import numpy as np
from matplotlib.figure import Figure

from echoseg.report.figures.agreement import Readings, _bland_altman


def test_readings_that_agree_but_for_rounding_show_no_differences():
    reference = np.array([40.0, 50.0, 60.0])
    axes = Figure().add_subplot()
    predicted = reference + np.array([0, 7e-15, -7e-15])
    pairs = Readings(title="EF", unit="points", predicted=predicted, reference=reference)
    _bland_altman(axes, pairs)
    assert not axes.lines[0].get_ydata().any()
    low, high = axes.get_ylim()
    assert high - low > 0.01
