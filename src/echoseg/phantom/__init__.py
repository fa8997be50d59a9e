"""A simulator of echocardiogram clips: a beating heart of known volume and a simulated probe."""

from echoseg.phantom.config import PhantomConfig, Phenotype, Rhythm, Style, Tier
from echoseg.phantom.phantom import Phantom
from echoseg.phantom.truth import Truth

__all__ = ["Phantom", "PhantomConfig", "Phenotype", "Rhythm", "Style", "Tier", "Truth"]
