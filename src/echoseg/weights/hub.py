"""Checkpoints on the Hugging Face Hub: `hf:OWNER/NAME`, and a folder to upload there.

Only three files are fetched, none of which holds code, and a network of another package is refused.
"""

import json
import shutil
from pathlib import Path
from re import fullmatch

from echoseg.errors import ConfigError, ModelError
from echoseg.weights.card import ModelCard, find_checkpoint, read_card

PREFIX, FILE = "hf:", "model.safetensors"
SIDE_FILES = (".trust.json", ".view.safetensors")
"""Calibration and view check, in the folder of the weights."""
INTENDED_USE = """\
Intended for research on apical clips of adults. Not for diagnosis, not for children, other views or
contrast clips. Scores of one hospital's stills do not hold for another scanner: calibrate
(`echoseg calibrate`) and read the warnings of each report."""
_REFERENCE = r"hf:([\w.-]+/[\w.-]+)(?:@([\w.-]+(?:/[\w.-]+)*))?"


def fetch(reference: str) -> Path:
    """Fetch a checkpoint, once, and return its file in the cache of the Hub's own library.

    Args:
        reference: `hf:OWNER/NAME`, or `hf:OWNER/NAME@REVISION`; a commit's hash as revision gives
            the same weights at all times.

    Raises:
        ConfigError: If the library is missing.
        ModelError: If the reference is not valid, nothing can be fetched, or the card names a
            network of another package.
    """
    match = fullmatch(_REFERENCE, reference)
    if match is None:
        raise ModelError(
            f"model must be hf:OWNER/NAME or hf:OWNER/NAME@REVISION, got {reference!r}"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ConfigError(
            f"model {reference!r} needs the library of the Hub; pip install 'echoseg[hub]', or "
            "download model.safetensors and give its path"
        ) from None
    names = [FILE, *(f"{Path(FILE).stem}{suffix}" for suffix in SIDE_FILES)]
    try:
        folder = snapshot_download(match[1], revision=match[2], allow_patterns=names)
    except Exception as error:  # of the library, of HTTP, of the network
        kind = type(error).__name__
        is_none = kind.endswith(("RepositoryNotFoundError", "RevisionNotFoundError", "RepoError"))
        why = "it is not there, or not open to you" if is_none else "no usable answer"
        why = "no answer, and not stored" if kind == "LocalEntryNotFoundError" else why
        raise ModelError(
            f"model {reference!r} cannot be fetched ({why}); check name, revision, "
            "network, HF_ENDPOINT and HF_HUB_OFFLINE, or give the path of a model.safetensors"
        ) from error
    path = Path(folder) / FILE
    if not path.is_file():
        raise ModelError(f"model {reference!r} must hold {FILE}, it does not")
    if ":" in read_card(path).architecture:
        raise ModelError(
            f"model {reference!r} needs a network of another package, whose code would run; if "
            f"you know it to be safe, download {FILE} and give its path"
        )
    return path


def write_folder(model: str, folder: Path) -> None:
    """Write a checkpoint as a repository of the Hub: model card, weights, calibration, view check.

    Args:
        model: Name or path of a checkpoint.
        folder: An empty folder.

    Raises:
        ModelError: If there is no such checkpoint.
    """
    path = find_checkpoint(model)
    card = read_card(path)
    shutil.copy(path, folder / FILE)
    for suffix in SIDE_FILES:
        if (own := path.with_suffix(suffix)).is_file():
            shutil.copy(own, folder / f"{Path(FILE).stem}{suffix}")
    (folder / "README.md").write_text(model_card(card), "utf-8")


def model_card(card: ModelCard) -> str:
    """The model card in Markdown, with the metadata of the Hub on top."""
    names = {
        "lv_endo": "Dice, LV cavity, A4C", "lv_epi": "Dice, LV epicardium, A4C",
        "la": "Dice, left atrium, A4C", "ef_mae_points": "EF error, points, A4C",
        "a2c_lv_endo": "Dice, LV cavity, A2C", "a2c_lv_epi": "Dice, LV epicardium, A2C",
        "a2c_la": "Dice, left atrium, A2C", "a2c_ef_mae_points": "EF error, points, A2C",
    }  # fmt: skip
    scores = {
        text: card.camus_validation[key]
        for key, text in names.items()
        if key in card.camus_validation
    }
    metrics = "".join(
        f"      - {{type: {'mae' if 'EF' in text else 'dice'}, name: {json.dumps(text)}, "
        f"value: {value:.4g}}}\n"
        for text, value in scores.items()
    )
    table = "".join(f"| {text} | {value:.4g} |\n" for text, value in scores.items())
    why = card.ef_unsupported_because
    ef = f"No EF is stated: {why}.\n\n" if why else ""
    return f"""---
library_name: echoseg
pipeline_tag: image-segmentation
license: {card.licence.lower()}
tags: [echocardiography, ultrasound, medical-imaging, left-ventricle, ejection-fraction, mamba]
model-index:
  - name: {json.dumps(card.name)}
    results:
    - task: {{type: image-segmentation}}
      dataset: {{type: camus, name: "CAMUS, 50 validation patients, ED and ES"}}
      metrics:
{metrics}---

# echoseg: {card.name}

**Research software, not a medical device.** {card.notice}

{ef}```python
import echoseg

result = echoseg.analyze("clip.dcm", model="hf:OWNER/NAME")
```
| | |
|---|---|
| network | {card.architecture}, frames of {card.image_size} x {card.image_size} pixels |
| views | {", ".join(card.views)} |
| trained on | {card.trained_on} |
| made by | {card.provenance} |
| licence | {card.licence} |
| SHA-256 | {card.sha256} |

On the 50 validation patients of CAMUS, measured by `echoseg evaluate`:

| | |
|---|---|
{table}
{INTENDED_USE}
"""
