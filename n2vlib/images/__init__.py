"""Images in and out: a file or an array becomes a stack (N, C, Y, X), and comes back with nothing lost.

Call the names below. Touch `files` and `stacks` to read another format, `file_to_file` to write one: no other room
knows what a file looks like.
"""

from .file_to_file import denoise_file
from .files import load_image
from .stacks import read_stack
