"""Label-efficiency experiment: accuracy against the fraction of labeled patients.

Every training method gets the same data, network, steps, labeled batch and seeds; a seed chooses
the same labeled patients for every method. At 0 % no patient has masks, and those of simulated
clips are learned from instead.
"""

from typing import Any, ClassVar

from pydantic import Field, field_validator

from echoseg.clip import View
from echoseg.metrics.segmentation import FAILED_DICE
from echoseg.train import recipes
from echoseg.train.config import TrainConfig
from experiments.experiment import Cell, Experiment
from experiments.robustness_tables import robust_markdown
from experiments.summary import MEAN, dice_text, difference_text, pivot, provenance_lines

METHODS = (
    "supervised", "mssnet", "rac_doc", "doc_only", "mean_teacher", "unimatch", "bcp",
    "cross_pseudo", "fixmatch",
)  # fmt: skip
VIEWS = tuple(map(str, View))
FRACTIONS = ("0%", "1%", "5%", "10%", "25%", "100%")


class LabelCurve(Experiment):
    """Training methods (rows) at several labeled fractions (columns)."""

    noun: ClassVar[str] = "a label-efficiency experiment"
    growing: ClassVar[tuple[str, ...]] = ("methods", "fractions", "num_seeds")
    reserved: ClassVar[frozenset[str]] = frozenset(
        {"data", "seed", "labeled_fraction", "split_seed", "method"}
    )

    methods: tuple[str, ...] = Field(min_length=1)
    fractions: tuple[float, ...] = Field(min_length=1)
    """Fractions of labeled patients, in [0, 1]."""
    zero_label_data: tuple[str, ...] = ("phantom:400",)
    """Labeled data of the fraction 0, where no patient has a mask; not used at other fractions, nor
    where `settings` have `extra_data`."""

    @field_validator("methods", "fractions")
    @classmethod
    def _unique(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(values))

    @property
    def reference(self) -> str:
        """`mssnet`, or the first method without it."""
        return "mssnet" if "mssnet" in self.methods else self.methods[0]

    def cells(self) -> list[Cell]:
        """The cells, seed by seed.

        At a fraction of 1 only `supervised` runs, if it is one of the methods: nothing is unlabeled
        then, unless only ED and ES are labeled.
        """
        sparse = self.settings.get("labeled_frames") == "ed_es"
        supervised_only = "supervised" in self.methods and not sparse
        return [
            Cell(
                name=f"{method}-{100 * fraction:g}pct-seed{seed}",
                row=method,
                column=f"{fraction:g}",
                seed=seed,
            )
            for seed in range(self.num_seeds)
            for fraction in self.fractions
            for method in self.methods
            if fraction < 1 or method == "supervised" or not supervised_only
        ]

    def train_config(self, cell: Cell) -> TrainConfig:
        """The config of a cell's training run.

        Raises:
            ConfigError: If the method or the settings are invalid.
        """
        default = TrainConfig.model_fields["num_steps"].default
        steps, fraction = self.settings.get("num_steps", default), float(cell.column)
        extra = {} if fraction else {"extra_data": self.zero_label_data}
        return recipes.make(
            cell.row,
            **{"validate_every": steps} | extra | self.settings,
            data=self.data,
            labeled_fraction=fraction,
            split_seed=cell.seed,
            seed=cell.seed,
        )


def curve_markdown(summary: dict[str, Any]) -> str:
    """The tables of a label-efficiency experiment."""
    sparse = summary["experiment"]["settings"].get("labeled_frames") == "ed_es"
    frames = " Frame-sparse: of a labeled clip only the masks of ED and ES are used."
    lines = [
        f"{summary['num_complete']} of {summary['num_cells']} cells are complete."
        f"{frames if sparse else ''}",
        *provenance_lines(summary["costs"]),
    ]
    if failed := summary["failed_clips"]:
        names = ", ".join(failed[:5]) + (", ..." if len(failed) > 5 else "")
        lines += ["", f"{len(failed)} clips could not be evaluated: {names}."]
    scores = sorted(
        (score for score in summary["scores"] if score["group"] in ("all", *VIEWS)),
        key=lambda score: float(score["column"]),
    )
    places = dict.fromkeys((s["eval_set"], s["group"]) for s in scores)
    for eval_set, group in places:
        own = [s for s in scores if (s["eval_set"], s["group"]) == (eval_set, group)]
        for structure in dict.fromkeys(score["structure"] for score in own):
            title = "mean of all structures" if structure == MEAN else structure
            title += "" if group == "all" else f", {group}"
            some = [score for score in own if score["structure"] == structure]
            lines += [
                "",
                f"{eval_set}, {title}: Dice (± SD over seeds; HD95; items under {FAILED_DICE}):",
                "",
                *pivot(some, _percent, dice_text, "labeled patients"),
            ]
            if differences := [score for score in some if score["difference"] is not None]:
                lines += [
                    "",
                    "Difference to the reference in Dice points [95 % interval over seeds and "
                    "patients], smallest detectable effect, p of the signed-rank test:",
                    "",
                    *pivot(differences, _percent, difference_text, "labeled patients"),
                ]
    reference = summary["reference"]
    return "\n".join(lines) + "\n" + robust_markdown(summary["robustness"], reference)


def _percent(score: dict[str, Any]) -> str:
    return f"{100 * float(score['column']):g} %"
