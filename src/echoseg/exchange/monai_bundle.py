"""A checkpoint as a bundle of MONAI: metadata, configuration of inference, weights.

Layout and keys as in https://docs.monai.io/en/stable/mb_specification.html.
"""

import json
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from echoseg.io.label_names import NAMES
from echoseg.weights.card import ModelCard, find_checkpoint, read_card

WEIGHTS = "models/model.safetensors"
_SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20220324.json"
)
_TARGET = "echoseg.exchange.monai_network."


def write_bundle(model: str, folder: Path) -> None:
    """Write a bundle into an empty folder.

    Args:
        model: Name or path of a checkpoint.
        folder: The folder.

    Raises:
        ModelError: If there is no such checkpoint.
    """
    path = find_checkpoint(model)
    card = read_card(path)
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir()
    shutil.copy(path, folder / WEIGHTS)
    for name, values in (("metadata", metadata(card)), ("inference", inference())):
        text = json.dumps(values, indent=1) + "\n"
        (folder / "configs" / f"{name}.json").write_text(text, "utf-8")
    (folder / "docs" / "README.md").write_text(_readme(card), "utf-8")


def metadata(card: ModelCard) -> dict[str, Any]:
    """`metadata.json`: versions, purpose, and what goes into the network and comes out."""
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": "US",
        "num_channels": 1,
        "spatial_shape": ["*", "*"],
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {"0": "image"},
    }
    names = {"0": "background", **{str(int(label)): name for label, name in NAMES.items()}}
    prediction = {
        "type": "probabilities",
        "format": "segmentation",
        "num_channels": len(names),
        "spatial_shape": ["*", "*"],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": names,
    }
    return {
        "schema": _SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": "first bundle"},
        "monai_version": _version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "optional_packages_version": {
            "echoseg": version("echoseg"),
            "nibabel": _version("nibabel"),
        },
        "name": f"echoseg {card.name}",
        "task": "Left ventricle, myocardium and left atrium in apical echocardiograms",
        "description": "Frames alone. Research software, not a medical device.",
        "authors": "echoseg maintainers",
        "copyright": f"Weights: {card.licence}",
        "data_source": card.trained_on,
        "intended_use": "Research on apical clips of adults; not for diagnosis",
        "eval_metrics": {name: card.camus_validation[name] for name in card.camus_validation},
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": prediction}},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # MONAI is needed only where the bundle runs
        return "1.6.0"


def inference() -> dict[str, Any]:
    """`inference.json`: clips as NIfTI (x, y, t) of grey levels 0 to 255 -> label maps."""
    keys = {"keys": "image"}
    preprocessing = [
        {"_target_": "LoadImaged", **keys},
        {"_target_": "EnsureChannelFirstd", **keys, "channel_dim": "no_channel"},
        {"_target_": "ScaleIntensityRanged", **keys, "a_min": 0, "a_max": 255, "b_min": 0,
         "b_max": 1, "clip": True},
        {"_target_": "EnsureTyped", **keys},
    ]  # fmt: skip
    postprocessing = [
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        {"_target_": "SaveImaged", "keys": "pred", "meta_keys": "image_meta_dict",
         "output_dir": "@output_dir", "output_postfix": "masks", "output_dtype": "$np.uint8",
         "separate_folder": False, "resample": False},
    ]  # fmt: skip
    return {
        "imports": ["$import glob", "$import numpy as np", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/data'",
        "output_dir": "$@bundle_root + '/masks'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": {
            "_target_": f"{_TARGET}FrameNetwork",
            "checkpoint": f"$@bundle_root + '/{WEIGHTS}'",
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": preprocessing},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': i} for i in sorted(glob.glob(@dataset_dir + '/*.nii.gz'))]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": {"_target_": "SliceInferer", "roi_size": [-1, -1], "spatial_dim": 2},
        "postprocessing": {"_target_": "Compose", "transforms": postprocessing},
        "evaluator": {
            "_target_": f"{_TARGET}BundleRun",
            "dataloader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "device": "@device",
        },
        "run": ["$@evaluator.run()"],
    }


def _readme(card: ModelCard) -> str:
    return f"""# echoseg {card.name}

Masks of the left ventricle, its myocardium and the left atrium in apical echocardiograms, each
frame alone. Research software, not a medical device. {card.notice}

    pip install echoseg monai nibabel
    python -m monai.bundle run --config_file configs/inference.json --dataset_dir DIR

Run it in this folder. DIR holds clips as NIfTI (x, y, t), grey levels 0 to 255; masks are written
to `masks/`. Volumes and ejection fraction: `echoseg measure masks/CLIP_masks.nii.gz -o OUT`. As a
stream, with the memory of earlier frames, the network runs in echoseg only.
"""
