"""The numbers of a report as HTML tables: the main ones, all with normal ranges, the beats."""

from html import escape

from echoseg.report.schema import Normal, Report, Results

_SIZES: tuple[tuple[str, str, str, int], ...] = (
    ("Ejection fraction", "ef_percent", "%", 0),
    ("Spread of EF over the beats (SD)", "ef_sd_points", "points", 1),
    ("End-diastolic volume, disks", "edv_ml", "ml", 0),
    ("End-systolic volume, disks", "esv_ml", "ml", 0),
    ("Stroke volume", "stroke_volume_ml", "ml", 0),
    ("End-diastolic volume, area-length", "edv_area_length_ml", "ml", 0),
    ("End-systolic volume, area-length", "esv_area_length_ml", "ml", 0),
    ("LV length at ED", "lv_length_ed_mm", "mm", 0),
    ("LV length at ES", "lv_length_es_mm", "mm", 0),
    ("LV area at ED", "lv_area_ed_cm2", "cm\u00b2", 1),
    ("LV area at ES", "lv_area_es_cm2", "cm\u00b2", 1),
    ("Fractional area change", "fractional_area_change_percent", "%", 0),
    ("Longitudinal strain of the contour (not speckle tracking)", "gls_percent", "%", 1),
    ("Mitral annular excursion", "annular_excursion_mm", "mm", 1),
    ("Left atrial volume at ES, one plane", "la_volume_ml", "ml", 0),
    ("Mean wall thickness at ED", "wall_thickness_mm", "mm", 1),
    ("LV mass, estimate from one plane", "lv_mass_g", "g", 0),
    ("Peak ejection rate", "peak_ejection_rate_edv_per_s", "EDV/s", 1),
    ("Peak ejection rate", "peak_ejection_rate_ml_per_s", "ml/s", 0),
    ("Peak filling rate", "peak_filling_rate_edv_per_s", "EDV/s", 1),
    ("Peak filling rate", "peak_filling_rate_ml_per_s", "ml/s", 0),
    ("Heart rate", "heart_rate_bpm", "bpm", 0),
)
"""Name, key of `Results`, unit, digits."""


def row(name: str, value: object, *, css: str = "") -> str:
    """Return a row of two cells."""
    return f'<tr class="{css}"><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>'


def number(value: float | None, unit: str, missing: str, digits: int = 0) -> str:
    """Return a value with its unit, or what to say where there is none."""
    return missing if value is None else f"{value:.{digits}f} {unit}"


def main_table(report: Report) -> str:
    """Return EF with its grade and the scheme's name, volumes, and what was filmed."""
    found, source = report.results, report.input
    volume = "no scale" if source.spacing_mm is None else "none"
    rate = f"{source.frame_rate_hz:.4g} Hz" if source.frame_rate_hz else "unknown"
    scale = "none"
    if source.spacing_mm is not None:
        scale = "{:.3f} x {:.3f} mm a pixel".format(*source.spacing_mm)
    rows = [row("Ejection fraction", number(found.ef_percent, "%", "none"), css="big")]
    rows += _trust_rows(report)
    if found.ef_grade is not None:
        rows.append(row(f"EF class, {found.ef_grade.scheme}", found.ef_grade.name))
    if found.ef_sd_points is not None:
        spread = f"{found.num_beats}, EF SD {found.ef_sd_points:.1f} points"
        rows.append(row("Beats", spread))
    rows += [
        row("End-diastolic volume", number(found.edv_ml, "ml", volume)),
        row("End-systolic volume", number(found.esv_ml, "ml", volume)),
        row("Heart rate", number(found.heart_rate_bpm, "bpm", "cannot be told")),
        row("View, as given", source.view),
        *_view_rows(report),
        row("Frames", f"{source.num_frames} of {source.columns} x {source.rows}"),
        row("Frame rate", rate),
        row("Scale (row x column)", scale),
    ]
    return f"<table>{''.join(rows)}</table>"


def _view_rows(report: Report) -> list[str]:
    seen = report.view_seen
    if seen is None:
        return []
    share = getattr(seen, f"{seen.likeliest.lower()}_percent")
    return [row("View, as a small network sees it", f"{seen.likeliest} ({share:.0f} %)")]


def _trust_rows(report: Report) -> list[str]:
    """Return the interval of EF and what it was calibrated on, where there is one."""
    trust = report.trust
    if trust is None or trust.ef_low_percent is None or trust.ef_high_percent is None:
        return []
    span = f"{trust.ef_low_percent:.0f} to {trust.ef_high_percent:.0f} %"
    name = f"EF, {trust.interval_level_percent:.0f} % interval ({trust.interval_source})"
    return [row(name, span)]


def sizes_table(report: Report) -> str:
    """Return every measurement that could be had, its normal range beside it; or nothing."""
    rows = [
        f"<tr><th>{escape(name)}</th><td>{value}</td>" + normal_cells(normal)
        for name, value, normal in sizes(report)
    ]
    if not rows:
        return ""
    head = "<tr><th></th><td>measured</td><td>normal, men</td><td>women</td><td>by</td></tr>"
    return f'<table class="wide">{head}{"".join(rows)}</table>'


def sizes(report: Report) -> list[tuple[str, str, Normal | None]]:
    """Return name, value with its unit, and normal range of all that could be had."""
    normal = {one.key: one for one in report.normal_ranges}
    return [
        (name, f"{value:.{digits}f} {unit}", normal.get(key))
        for name, key, unit, digits in _SIZES
        if (value := _value(report.results, key)) is not None
    ]


def _value(results: Results, key: str) -> float | None:
    return getattr(results, key)


def normal_cells(one: Normal | None) -> str:
    """Return the last three cells of a row: men's range, women's, the scheme."""
    if one is None:
        return "<td></td><td></td><td></td></tr>"
    men, women = ("{:.0f} to {:.0f}".format(*limits) for limits in (one.men, one.women))
    return f"<td>{men}</td><td>{women}</td><td>{escape(one.scheme)}</td></tr>"


def beats_table(report: Report) -> str:
    """Return a row a beat; nothing where there is none."""
    if not report.beats:
        return ""
    names = ("beat", "ED frame", "ES frame", "EF", "EDV", "ESV", "contour strain")
    rows = ["<tr>" + "".join(f"<td>{name}</td>" for name in names) + "</tr>"]
    for place, beat in enumerate(report.beats, 1):
        cells = (
            str(place),
            str(beat.ed_frame),
            str(beat.es_frame),
            f"{beat.ef_percent:.0f} %",
            number(beat.edv_ml, "ml", ""),
            number(beat.esv_ml, "ml", ""),
            number(beat.gls_percent, "%", "", 1),
        )
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f'<table class="wide">{"".join(rows)}</table>'
