"""Images in and out: a file or an array becomes a stack (N, C, Y, X), and comes back with nothing lost.

Call the names below; touch `pictures` and `stacks` to read another format, `writing` and `file_to_file` to write one.

arrays         any array as a stack (N, C, Y, X) and back, its values checked; flips and quarter turns
hot_pixels     hot and dead pixels, told from stars
gaps           places that hold no measurement: found, counted, filled
writing        files written whole or not at all, and the axes of TIFF files
tiff_damage    is a TIFF file whole?
colours        photographs, transparency, palettes: one way for all files; stains are never averaged
tiff_layout    which images of a TIFF file are meant, and what their axes say
other_formats  what reads the files of other programs
plates         folders of microscope plates, told by the names of their files
stacks         hyperstacks on disk, not loaded
calibration    what a TIFF file says of its pixels: axes, sizes, times, channels; kept in the file written
pictures       one image from a file of any kind
files          an image saved; all images that a folder holds
file_to_file   prediction from file to file by a denoiser that it is given; goes on where it was interrupted
"""

from .file_to_file import denoise_file, denoise_folder
from .files import save_image
from .pictures import load_image
from .stacks import read_stack
