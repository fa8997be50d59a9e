"""The card of trained weights: what they were trained on, and the terms of those data."""

import platform
from collections.abc import Sequence

import torch

from echoseg.clip import View
from echoseg.errors import ModelError
from echoseg.models.build import architecture_of
from echoseg.train.config import TrainConfig
from echoseg.train.data.sources import Source
from echoseg.train.loop import Step
from echoseg.weights.card import ModelCard, find_checkpoint, read_card


def make_card(config: TrainConfig, sources: Sequence[Source], step: Step) -> ModelCard:
    """The card of the weights of a run; licences of data and of weights learned from add up."""
    places = (config.init_from, config.pretrained_encoder, *step.method.checkpoints)
    initial = [_card_of(place) for place in places if place]
    parts = [card.trained_on for card in initial] + [source.words for source in sources]
    # data under terms of their own put all that was learned from them under these
    bound = [each for each in [*initial, *sources] if each.licence != "Apache-2.0"]
    licence = " AND ".join(dict.fromkeys(each.licence for each in bound)) or "Apache-2.0"
    notice = " ".join(dict.fromkeys(each.notice for each in bound if each.notice))
    views = {view for source in sources for view in source.clips.views}
    return ModelCard(
        architecture=architecture_of(step.student),
        views=tuple(view for view in config.views if view in views) or (View.A4C,),
        image_size=config.image_size,
        licence=licence,
        notice=notice,
        trained_on="; ".join(dict.fromkeys("; ".join(parts).split("; "))),
        provenance=f"{config.model_dump_json(exclude_defaults=True)}; torch {torch.__version__}, "
        f"{platform.machine()}",
    )


def _card_of(place: str) -> ModelCard:
    """The card of initial weights."""
    path = find_checkpoint(place)
    try:
        return read_card(path)
    except ModelError:  # an encoder of another project
        return ModelCard(
            architecture="encoder",
            image_size=16,  # of no use
            licence=f"that of {path.name}",
            trained_on=f"initialised with the encoder of {path.name}",
        )
