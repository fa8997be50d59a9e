"""`python -m experiments`: the experiments that compare methods, labels and networks."""

import sys

import typer

from echoseg.cli.console import CommandGroup, run_app
from experiments.carry_command import carry
from experiments.compared_command import compared
from experiments.echonet_recipe_command import echonet_recipe
from experiments.grid_command import bench, curve, ssg
from experiments.keyframes_command import keyframes
from experiments.label_order_command import label_order
from experiments.leaderboard_command import app as leaderboard
from experiments.nnunet_command import nnunet
from experiments.robustness_command import robustness

app = typer.Typer(
    name="experiments",
    cls=CommandGroup,
    help="Experiments with echoseg; not part of the installed package.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(curve)
app.command()(bench)
app.command()(ssg)
app.command()(keyframes)
app.command()(robustness)
app.command()(label_order)
app.command()(carry)
app.add_typer(leaderboard)
app.command()(nnunet)
app.command()(compared)
app.command()(echonet_recipe)


@app.callback()
def root() -> None:
    """Experiments with echoseg."""


if __name__ == "__main__":
    sys.exit(run_app(app, "python -m experiments"))
