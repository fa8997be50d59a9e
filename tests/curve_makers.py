"""Small experiments, and complete cells put into their folder."""

from echoseg.evaluation.items import Item
from echoseg.evaluation.tables import ITEMS, table_text
from echoseg.files import write_json
from experiments.cells import Cost, cell_folder
from experiments.grid import open_folder
from experiments.label_curve import LabelCurve
from experiments.model_bench import ModelBench, Speed

SMALL = {"image_size": 32, "num_labeled": 2, "num_unlabeled": 2, "accelerator": "cpu"}


def small_curve(**changes):
    fields = {
        "data": ("phantom:8",),
        "eval_sets": ("phantom:validation",),
        "num_hearts": 1,
        "methods": ("supervised", "mssnet"),
        "fractions": (0.25,),
        "settings": SMALL | {"num_steps": 2, "architecture": {"size": "tiny"}},
    }
    return LabelCurve.make(**fields | changes)


def small_bench(**changes):
    fields = {
        "data": ("phantom:6",),
        "eval_sets": ("phantom:test", "phantom:test:corrupted"),
        "num_hearts": 1,
        "models": ("unet", "mssnet_tiny"),
        "max_steps": 2,
        "settings": SMALL,
    }
    return ModelBench.make(**fields | changes)


def item(patient: str, structure: str, dice: float) -> Item:
    return Item(
        clip=patient, patient=patient, view="", split="", quality="", ef_band="", frame=0, phase="",
        structure=structure, status="ok", dice=dice, iou=None, hd=None, hd95=2.0, asd=None,
        unit="px", predicted_px=0, reference_px=0, shared_px=0,
    )  # fmt: skip


def begin(experiment, out):
    with open_folder(type(experiment), out).locked():
        open_folder(type(experiment), out).begin(experiment, varying=experiment.growing)


def put(experiment, out, cell, dice: dict[str, float]) -> None:
    """Write the files of a complete cell, except for its weights."""
    for index in range(len(experiment.eval_sets)):
        place = cell_folder(out, cell) / f"eval-{index}"
        place.mkdir(parents=True)
        items = [item(patient, "lv_endo", value) for patient, value in dice.items()]
        (place / ITEMS).write_text(table_text(items, Item), "utf-8")
    write_json(cell_folder(out, cell) / "cost.json", Cost(num_steps=2, cpu_s=1.5))


def put_all(experiment, out):
    """Write a folder in which every cell is complete."""
    begin(experiment, out)
    for cell in experiment.cells():
        put(experiment, out, cell, {"a": 0.9, "b": 0.8})
    if isinstance(experiment, ModelBench):
        names = {cell.row for cell in experiment.cells()}
        write_json(out / "speed.json", Speed(machine={}, networks={name: {} for name in names}))
    return experiment
