"""Images to learn with, real and painted, and trained weights: found on disk, or downloaded once and checked.

Call the names below. Touch `downloads` when an address or a checksum changes, and `photographs` or `painted` to add
images; weights in data/models come with a record of how they were made.
"""

from .downloads import jump_stack
from .painted import painted_cells, painted_shapes
from .photographs import bsd68, bsd68_test_image, sample_photographs
from .pretrained import load_pretrained, pretrained_record
