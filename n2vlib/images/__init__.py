"""Images in and out: a file or an array becomes a stack (N, C, Y, X), and comes back with nothing lost.

Call the names below; touch `files` and `stacks` to read another format, `writing` and `file_to_file` to write one.

arrays         any array as a stack (N, C, Y, X) and back, its values checked; flips and quarter turns
hot_pixels     hot and dead pixels, told from stars
gaps           places that hold no measurement: found, counted, filled
writing        files written whole or not at all, and the axes of TIFF files
tiff_damage    is a TIFF file whole?
stacks         hyperstacks on disk, not loaded: the axes of ImageJ and OME files, folders of microscope plates
calibration    what a TIFF file says of its pixels: axes, sizes, times, channels; kept in the file written
files          one picture of any kind, or all that a folder holds
file_to_file   prediction from file to file by a denoiser that it is given; goes on where it was interrupted
"""

from .file_to_file import denoise_file, denoise_folder
from .files import load_image, save_image
from .stacks import read_stack
