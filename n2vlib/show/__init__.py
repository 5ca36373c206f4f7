"""What the notebooks show: figures, drawings of networks, pictures under sliders, and a training to watch and stop.

Call the names below; each returns its figure or widget. Touch anything here freely: no number depends on it.
"""

from .diagrams import network, pixels, plane, unet
from .figures import STAINS, bars, composite, history, images, masking, structure, use_style
from .live_training import train_live
from .sliders import before_after, explore_masking, explore_stack, explore_structure, redrawn
