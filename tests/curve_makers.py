"""A small label curve, and cells put into its folder."""

import dataclasses

from echoseg.evaluation.items import Item
from echoseg.evaluation.tables import ITEMS, table_text
from experiments.label_curve import Cell, label_curve

SMALL = {
    "num_steps": 2,
    "image_size": 32,
    "num_labeled": 2,
    "num_unlabeled": 2,
    "architecture": {"size": "tiny"},
    "accelerator": "cpu",
}


def small_curve(**changes):
    fields = {
        "data": ("phantom:8",),
        "judge": "phantom",
        "num_hearts": 1,
        "recipes": ("supervised", "mssnet"),
        "labels": (0.25,),
        "num_seeds": 1,
        "settings": SMALL,
    }
    return label_curve(**fields | changes)


def item(patient: str, structure: str, dice: float) -> Item:
    empty = {field.name: "" for field in dataclasses.fields(Item)}
    numbers = dict.fromkeys(("frame", "predicted_px", "reference_px", "shared_px"), 0)
    known = {"clip": patient, "patient": patient, "structure": structure, "dice": dice}
    return Item(**empty | numbers | {"iou": None, "hd": None, "hd95": 2.0, "asd": None} | known)


def put(out, cell: Cell, dice: dict[str, float]) -> None:
    folder = out / "runs" / cell.name
    folder.mkdir(parents=True)
    items = [item(patient, "lv_endo", value) for patient, value in dice.items()]
    (folder / ITEMS).write_text(table_text(items, Item), "utf-8")
