"""What the notebooks show: figures, drawings of networks, pictures under sliders, and a training to watch and stop.

Call the names below, each returns its figure or widget; touch anything here freely: no number depends on it.

png             a figure as a small PNG file, with a text that says what it shows
figures         style and colours; images side by side, histories, dots, blind spots, structures of noise
diagrams        networks as neurons and as a U, the plane as a neuron cuts it, pixels with their numbers
sliders         a figure that is drawn anew when a slider moves, and some such explorers
explorer        two of several results at the same place, side by side and blinking
reports         a result in a folder, with residual, autocorrelation, settings and noise report
live_training   a training with its picture, its loss and a Stop button
"""

from .diagrams import network, pixels, plane, unet
from .explorer import explore_results
from .figures import STAINS, composite, dots, history, images, masking, structure, use_style
from .live_training import train_live
from .reports import save_report
from .sliders import before_after, explore_masking, explore_stack, explore_structure, redrawn
