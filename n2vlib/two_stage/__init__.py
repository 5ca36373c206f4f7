"""The pipeline for structured noise: stage 1 is Noise2Void, stage 2 learns from a mask measured in between.

Call `run_two_stage` with a plain dictionary, NAMES and PRESETS say what it may hold; touch `settings` for another
preset, `pipeline` for what is done in which order.

settings   the dictionary: names, presets, checks
regions    which images, or regions of one image, to learn from
result     what a run returns, and the folder it writes
pipeline   the two stages, and which of them is better
"""

from .pipeline import run_two_stage
from .settings import NAMES, PRESETS
