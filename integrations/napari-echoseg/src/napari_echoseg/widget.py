"""The dock widget: analyze a clip, show its contours, measure corrected masks, save the result."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import (
    ComboBox,
    Container,
    Label,
    LineEdit,
    ProgressBar,
    PushButton,
    TextEdit,
)
from napari.layers import Image, Labels, Shapes
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog

from echoseg import analyze
from echoseg.errors import ConfigError, EchosegError
from echoseg.inference.analysis import APICAL_VIEWS, Analysis
from echoseg.report.schema import DISCLAIMER
from echoseg.weights.card import DEFAULT_MODEL, SHIPPED
from napari_echoseg.files import read
from napari_echoseg.layers import (
    Known,
    LayerData,
    Statements,
    contours_layer,
    describe,
    labels_layer,
    layer_clip,
    layer_known,
    layer_masks,
    measure,
)

if TYPE_CHECKING:
    import napari

_FROM_FILE = "as the file says"
_REFRESH_MS = 100
_WIDTH_PX, _TEXT_PX = 400, 160


class _Cancelled(Exception):
    """The user cancelled the run."""


class EchosegWidget(Container):
    """Analyze a clip, correct its masks, and measure them again.

    Args:
        viewer: The viewer whose layers are used.
    """

    def __init__(self, viewer: "napari.viewer.Viewer") -> None:
        self._viewer = viewer
        self.open = PushButton(text="Open a clip ...")
        self.clip = ComboBox(label="clip", choices=self._layers(Image), nullable=True)
        self.view = ComboBox(label="view", choices=[_FROM_FILE, *map(str, APICAL_VIEWS)])
        self.spacing_mm = LineEdit(label="row, column mm")
        self.fps = LineEdit(label="frames per s")
        self.model = ComboBox(label="network", choices=list(SHIPPED), value=DEFAULT_MODEL)
        self.analyze = PushButton(text="Analyze")
        self.cancel = PushButton(text="Cancel", enabled=False)
        self.progress = ProgressBar(min=0, max=1, value=0, label="frames")
        self.masks = ComboBox(label="masks", choices=self._layers(Labels, Shapes), nullable=True)
        self.contours = PushButton(text="Contours of these masks")
        self.measure = PushButton(text="Measure these masks")
        self.save = PushButton(text="Save the result ...", enabled=False)
        self.text = TextEdit(value=DISCLAIMER)
        self.text.read_only = True
        self.text.min_height = _TEXT_PX
        super().__init__(
            widgets=[
                Label(value=DISCLAIMER), self.open, self.clip, self.view, self.spacing_mm,
                self.fps, self.model, self.analyze, self.cancel, self.progress, self.masks,
                self.contours, self.measure, self.save, self.text,
            ]
        )  # fmt: skip
        self.result: Analysis | None = None
        # no thread of Qt: its signals are deleted with the window, before the thread ends
        self._executor = ThreadPoolExecutor(max_workers=1)
        self._future: Future[Any] | None = None
        self._then: Callable[[Any], None] = lambda _: None
        self._is_cancelled = False
        self._frames = 0, 1
        self._timer = QTimer(self.native)  # the window is changed in its own thread
        self._timer.timeout.connect(self._look)
        self.open.changed.connect(self._open)
        self.analyze.changed.connect(self._analyze)
        self.cancel.changed.connect(self.stop)
        self.contours.changed.connect(self._add_contours)
        self.measure.changed.connect(self._measure)
        self.save.changed.connect(self._save)
        viewer.layers.events.inserted.connect(self._refresh)
        viewer.layers.events.removed.connect(self._refresh)
        self.native.setMaximumWidth(_WIDTH_PX)
        self.native.destroyed.connect(self.stop)
        self._refresh()

    def _layers(self, *kinds: type) -> Callable[[Any], list[Any]]:
        return lambda _: [layer for layer in self._viewer.layers if isinstance(layer, kinds)]

    def _refresh(self, event: Any = None) -> None:
        for choice in (self.clip, self.masks):
            choice.reset_choices()
            if choice.value is None and choice.choices[1:]:
                choice.value = choice.choices[-1]

    def stop(self, *_: object) -> None:
        """End the run at the next frame; nothing is added."""
        self._is_cancelled = True

    @property
    def is_running(self) -> bool:
        """Whether a run has not ended yet."""
        return self._future is not None

    def stated(self) -> Statements:
        """What the fields state of the clip.

        Raises:
            ConfigError: If one is not a number.
        """
        spacing = _numbers(self.spacing_mm.value, "row, column mm")
        fps = _numbers(self.fps.value, "frames per s")
        if len(spacing) > 2 or len(fps) > 1:
            raise ConfigError(
                "row, column mm takes one number or two, and frames per s one; clear the rest"
            )
        view = None if self.view.value == _FROM_FILE else self.view.value
        pair = (spacing[0], spacing[-1]) if spacing else None
        return Statements(view, pair, fps[0] if fps else None)

    def _show(self, text: str, result: Analysis | None = None) -> None:
        self.text.value, self.result = text, result
        self.save.enabled = result is not None

    def _add(self, layer: LayerData) -> None:
        data, attributes, kind = layer
        added = getattr(self._viewer, f"add_{kind}")(data, **attributes)
        if kind in ("labels", "shapes"):
            self.masks.value = added
        else:
            self.clip.value = added

    def _run(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do work in a thread; an error is shown, and a cancelled run leaves everything."""
        if self.is_running:
            return
        self._is_cancelled = False
        self._future, self._then = self._executor.submit(work), then
        self._set_running(True)

    def _look(self) -> None:
        """Show how far the run is, and what it returned."""
        self._show_progress()
        future = self._future
        if future is None or not future.done():
            return
        self._future = None
        self._set_running(False)
        try:
            value = future.result()
        except _Cancelled:
            self._is_cancelled = True
        except EchosegError as error:
            self._show(str(error))
            return
        if self._is_cancelled:
            self._show("Cancelled.")
        else:
            self._then(value)

    def _show_progress(self) -> None:
        done, total = self._frames
        self.progress.max, self.progress.value = total, done

    def _set_running(self, running: bool) -> None:
        if running:
            self._frames = 0, 1
            self._timer.start(_REFRESH_MS)
        else:
            self._timer.stop()
        self._show_progress()
        for button in (self.open, self.analyze, self.contours, self.measure):
            button.enabled = not running
        self.cancel.enabled = running
        self.save.enabled = not running and self.result is not None

    def _follow(self, done: int, total: int) -> None:
        """Called in the thread of the run."""
        if self._is_cancelled:
            raise _Cancelled
        self._frames = done, total

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except EchosegError as error:
            self._show(str(error))

    def _open(self) -> None:
        path = QFileDialog.getOpenFileName(self.native, "Open a clip")[0]
        if path:
            self._run(lambda: read(path), lambda layers: [self._add(one) for one in layers])

    def _analyze(self) -> None:
        self._try(self._start_analysis)

    def _start_analysis(self) -> None:
        layer = self.clip.value
        if layer is None:
            raise ConfigError("clip must be an image layer; open a clip")
        stated, (data, attributes, _) = self.stated(), layer.as_layer_data_tuple()
        model = self.model.value
        self._show("Analyzing ...")
        self._run(
            lambda: analyze(
                layer_clip(data, attributes, stated), model=model, progress=self._follow
            ),
            lambda result: self._add_result(result, layer.name),
        )

    def _add_result(self, result: Analysis, name: str) -> None:
        known = Known(
            masks=result.masks,
            analysis=result,
            clip_sha256=result.clip.source_sha256,
            spacing_mm=result.measurement.spacing_mm,
            frame_rate_hz=result.clip.frame_rate_hz,
        )
        self._add(labels_layer(known, f"{name} masks"))
        self._show(describe(result), result)

    def _add_contours(self) -> None:
        self._try(self._show_contours)

    def _show_contours(self) -> None:
        layer, masks, known = self._chosen()
        if isinstance(layer, Shapes):
            raise ConfigError("masks must be a labels layer to show its contours; choose one")
        base = known or Known(masks=masks)
        if known is not None and not np.array_equal(masks, known.masks):
            base = replace(known, masks=masks, analysis=None, is_corrected=True)
        self._add(contours_layer(base, f"{layer.name} contours"))

    def _chosen(self) -> tuple[Any, Any, Known | None]:
        """The layer of masks that is chosen, its label maps, and what is known of them."""
        layer = self.masks.value
        if layer is None:
            raise ConfigError("masks must be a labels or shapes layer; analyze a clip, or open one")
        data, attributes, _ = layer.as_layer_data_tuple()
        return layer, layer_masks(data, attributes), layer_known(attributes)

    def _measure(self) -> None:
        self._try(self._start_measuring)

    def _start_measuring(self) -> None:
        layer = self.clip.value
        if layer is None:
            raise ConfigError("clip must be the image layer that the masks are of; open the clip")
        _, masks, known = self._chosen()
        stated, (data, attributes, _) = self.stated(), layer.as_layer_data_tuple()
        self._show("Measuring ...")
        self._run(
            lambda: measure(layer_clip(data, attributes, stated), masks, known),
            lambda result: self._show(describe(result), result),
        )

    def _save(self) -> None:
        path = QFileDialog.getSaveFileName(self.native, "Folder to create")[0]
        if path:
            self.save_result(Path(path))

    def save_result(self, folder: Path) -> None:
        """Write the result that is shown, as `echoseg analyze` and `measure` do."""
        result = self.result
        if result is None:
            return
        text = self.text.value
        self._run(
            lambda: result.save(folder),
            lambda place: self._show(f"{text}\nWritten to {place}.", result),
        )


def _numbers(text: str, field: str) -> list[float]:
    try:
        return [float(word) for word in text.replace(",", " ").split()]
    except ValueError as error:
        raise ConfigError(f"{field} must be numbers, got {text!r}; correct or clear it") from error
