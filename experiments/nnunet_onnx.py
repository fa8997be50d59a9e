"""A trained nnU-Net v2 of 2-D stills as an ONNX file, with its adapter for `echoseg evaluate`.

    PYTHON_WITH_NNUNET experiments/nnunet_onnx.py MODEL -o nnunet.onnx [--checkpoint NAME]

MODEL is a folder of results of nnU-Net, `.../nnUNetTrainer__nnUNetPlans__2d`; fold 0 is taken. The
file takes one patch; `nnunet.json` beside it states the pixel size, grey levels and labels, by
which echoseg crops, resamples and tiles a frame as nnU-Net does. It does not mirror.
"""

import argparse
import json
from pathlib import Path
from typing import Any


def adapter_of(plans: dict[str, Any], labels: dict[str, int]) -> dict[str, Any]:
    """The adapter of a network with these plans and the labels of these names.

    Raises:
        ValueError: If it is not one of single frames of one channel with z-scores.
    """
    configuration = plans["configurations"]["2d"]
    schemes = configuration["normalization_schemes"]
    spacing = configuration["spacing"]
    if schemes != ["ZScoreNormalization"]:
        raise ValueError(f"normalization must be one ZScoreNormalization, got {schemes}")
    if spacing[0] != spacing[1]:
        raise ValueError(f"the spacing must be that of square pixels, got {spacing} mm")
    return {
        "labels": sorted(labels.values()),
        "spacing_mm": spacing[0],
        "values": "z_score",
    }


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("nnunet.onnx"))
    parser.add_argument("--checkpoint", default="checkpoint_final.pth")
    args = parser.parse_args()

    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    plans = json.loads((args.model / "plans.json").read_text("utf-8"))
    labels = json.loads((args.model / "dataset.json").read_text("utf-8"))["labels"]
    adapter = adapter_of(plans, labels)
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False)
    predictor.initialize_from_trained_model_folder(str(args.model), (0,), args.checkpoint)
    network = predictor.network.eval()
    network.load_state_dict(predictor.list_of_parameters[0])
    torch.onnx.export(
        network,
        (torch.zeros(1, 1, *plans["configurations"]["2d"]["patch_size"]),),
        str(args.output),
        input_names=["frames"],
        output_names=["logits"],
        dynamo=False,
    )
    args.output.with_suffix(".json").write_text(json.dumps(adapter, indent=1) + "\n", "utf-8")
    print(f"wrote {args.output} and {args.output.with_suffix('.json')}")


if __name__ == "__main__":
    main()
