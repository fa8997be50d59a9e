"""echoseg as an app of MONAI Label: masks of the left ventricle, and the EF of corrected ones.

Research software, not a medical device.

MONAI Label 0.8.5 needs pydicom 2 and NumPy 1, echoseg pydicom 3, so that both cannot be installed
in one environment: the app runs the command `echoseg` of another one, and imports none of it.
"""

import json
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import SimpleITK
from fastapi import HTTPException
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

logger = logging.getLogger(__name__)

LABELS = {"LV cavity": 1, "LV myocardium": 2, "left atrium": 3}
DISCLAIMER = "Research software, not a medical device."
VIEWS = ("as the file says", "A4C", "A2C")
CLIPS = ("*.nii.gz", "*.nii", "*.nrrd", "*.mha", "*.dcm", "*.avi", "*.mp4", "*.mov")
"""Files of a folder of studies that are clips."""
VOLUMES = (".nii.gz", ".nii", ".nrrd", ".mha")
"""Files whose labels must have their place in space, since viewers lay them on each other."""
MAX_SECONDS = 600.0


def run_echoseg(command: str, arguments: Sequence[str], seconds: float) -> dict[str, Any]:
    """Run a command of echoseg that writes a result folder.

    Returns:
        The content of its `report.json`.

    Raises:
        HTTPException: With 422 and echoseg's own sentence if nothing was written, with 504 if it
            took too long, and was ended.
    """
    logger.info("echoseg %s", " ".join(arguments))
    try:
        run = subprocess.run(
            [command, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            env=os.environ | {"COLUMNS": "10000", "NO_COLOR": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise HTTPException(
            504, f"echoseg took over {seconds:g} s and was ended; give a shorter clip or a timeout"
        ) from error
    reports = list(Path(arguments[arguments.index("-o") + 1]).rglob("report.json"))
    if len(reports) != 1:
        lines = (run.stderr.strip() or run.stdout.strip()).splitlines()
        raise HTTPException(
            422, lines[-1] if lines else f"echoseg ended with code {run.returncode}"
        )
    return {"folder": reports[0].parent} | json.loads(reports[0].read_text("utf-8"))


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """What goes with the masks to a viewer; values that may not be stated are null."""
    results, reliability = report["results"], report.get("reliability") or {}
    is_stated = report["ef_reliable"] is not False
    interval = reliability.get("interval") if is_stated else None
    return {
        "label_names": LABELS,
        "ef_percent": results["ef_percent"] if is_stated else None,
        "ef_reliable": report["ef_reliable"],
        "ef_interval_percent": interval and [interval["low_percent"], interval["high_percent"]],
        "edv_ml": results["edv_ml"] if is_stated else None,
        "esv_ml": results["esv_ml"] if is_stated else None,
        "refusal": results["refusal"],
        "warnings": [one["message"] for one in report["warnings"]],
        "notes": [one["message"] for one in report["notes"]],
        "disclaimer": DISCLAIMER,
    }


def write_label(image: Path, masks: Path, suffix: str) -> str:
    """Write masks to a temporary file; those of a volume with its place in space.

    Raises:
        HTTPException: With 422 if a volume cannot be read, or has another size than the masks.
    """
    label = SimpleITK.ReadImage(str(masks), SimpleITK.sitkUInt8)
    if image.name.lower().endswith(VOLUMES):
        try:
            label.CopyInformation(SimpleITK.ReadImage(str(image)))
        except RuntimeError as error:
            raise HTTPException(
                422, "the masks cannot be laid on this volume; save it as NIfTI (x, y, t)"
            ) from error
    handle, path = tempfile.mkstemp(suffix=suffix)
    os.close(handle)
    SimpleITK.WriteImage(label, path, useCompression=True)
    return path  # the server deletes it once it is sent


class EchosegInfer(InferTask):
    """Masks of a clip by a network of echoseg.

    Args:
        command: The command `echoseg`.
        options: Options for each run, such as the network's name.
    """

    def __init__(self, command: str, options: Sequence[str]) -> None:
        super().__init__(
            type=InferType.SEGMENTATION,
            labels=LABELS,
            dimension=3,
            description=f"Left ventricle in apical echocardiograms (x, y, t). {DISCLAIMER}",
            config={"view": list(VIEWS)},
        )
        self._command, self._options = command, tuple(options)

    def is_valid(self) -> bool:
        """The command was checked when the app started."""
        return True

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Segment a clip.

        Args:
            request: `image` is its path; `view`, `spacing_mm` (row, column), `fps`, `timeout` in s
                and `result_extension` are optional.

        Returns:
            Path of the label maps, and EF, volumes and warnings.

        Raises:
            HTTPException: With 422 and a sentence if the clip cannot be analyzed.
        """
        image = Path(str(request.get("image") or ""))
        if not request.get("image") or not image.exists():
            raise HTTPException(404, "there is no such image in the datastore; see /datastore/")
        suffix = str(request.get("result_extension") or ".nii.gz")
        if suffix not in VOLUMES:
            raise HTTPException(422, f"result_extension must be one of {', '.join(VOLUMES)}")
        seconds = _numbers(request, "timeout", 1) or [str(MAX_SECONDS)]
        with tempfile.TemporaryDirectory() as work:
            arguments = ["analyze", str(image), "-o", str(Path(work) / "out"), "--no-pages"]
            arguments += [*self._options, *stated(request)]
            report = run_echoseg(self._command, arguments, float(seconds[0]))
            label = write_label(image, report["folder"] / "masks.nii.gz", suffix)
        return label, summary(report)


def stated(request: dict[str, Any]) -> list[str]:
    """Options of a command for what a request states of the clip.

    Raises:
        HTTPException: With 422 if a value is of the wrong kind; echoseg itself checks its range.
    """
    view = request.get("view") or VIEWS[0]
    view = view[0] if isinstance(view, list) else view
    if view not in VIEWS:
        raise HTTPException(422, f"view must be one of {', '.join(VIEWS)}")
    options = [] if view == VIEWS[0] else ["--view", view]
    for name, option, count in (("spacing_mm", "--spacing-mm", 2), ("fps", "--fps", 1)):
        if values := _numbers(request, name, count):
            options += [option, *values]
    return options


def _numbers(request: dict[str, Any], name: str, count: int) -> list[str]:
    value = request.get(name)
    if value is None:
        return []
    values = value if isinstance(value, list) else [value]
    try:
        numbers = [str(float(one)) for one in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != count:
        raise HTTPException(422, f"{name} must be {count} number{'s' * (count > 1)}")
    return numbers


class EchosegApp(MONAILabelApp):
    """The app.

    Args:
        app_dir: This folder.
        studies: Folder of clips.
        conf: `echoseg`: path of the command, by default the one on PATH; `model`: name or path of a
            network; `backend`: what runs it, torch by default.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self._command = conf.get("echoseg") or shutil.which("echoseg") or ""
        try:
            subprocess.run([self._command, "--version"], check=True, capture_output=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            text = f"the command echoseg does not run ({self._command!r}); give --conf echoseg PATH"
            raise MONAILabelException(MONAILabelError.APP_INIT_ERROR, text) from error
        self._options = ["--backend", conf.get("backend", "torch")]
        if conf.get("model"):
            self._options += ["--model", conf["model"]]
        known = settings.MONAI_LABEL_DATASTORE_FILE_EXT
        settings.MONAI_LABEL_DATASTORE_FILE_EXT = [*dict.fromkeys((*known, *CLIPS))]
        super().__init__(
            app_dir, studies, conf, name="echoseg", description=DISCLAIMER, labels=LABELS
        )

    def init_infers(self) -> dict[str, InferTask]:
        """The one task."""
        return {"echoseg": EchosegInfer(self._command, self._options)}

    def on_save_label(self, image_id: str, label_id: str) -> dict[str, Any]:
        """Measure masks that a reader corrected; what is returned stands in the server's answer.

        Only the final label of an image is measured. That it cannot be measured is said in the
        answer, since the label itself is saved by then.
        """
        store = self.datastore()
        label = store.get_label_uri(label_id, DefaultLabelTag.FINAL)
        if not label:
            return {}
        image = store.get_image_uri(image_id)
        try:
            with tempfile.TemporaryDirectory() as work:
                arguments = ["measure", label, "--clip", image, "--corrected"]
                arguments += ["-o", str(Path(work) / "out")]
                return {"echoseg": summary(run_echoseg(self._command, arguments, MAX_SECONDS))}
        except HTTPException as error:
            return {"echoseg": {"error": error.detail, "disclaimer": DISCLAIMER}}
