"""The pipeline for noise that neighbours share: stage 1 is Noise2Void, stage 2 learns from a mask measured in between.

Call `run_two_stage` with a plain dictionary; NAMES and PRESETS say what it may hold. Touch `settings` for another
preset, `pipeline` for what is done and in which order.
"""

from .pipeline import run_two_stage
from .settings import NAMES, PRESETS
