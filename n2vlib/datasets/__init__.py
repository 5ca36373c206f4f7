"""Images to learn with, real and painted, and trained weights: found on disk, or downloaded once and checked.

Call the names below; touch `downloads` when an address or a checksum changes, the others to add images.

ranges        parts of large files, read over HTTP ranges
downloads     the JUMP stack; downloads that go on where they were cut off, with checksums; parts of files
photographs   BSD68, and photographs of scikit-image in its place
painted       cells and shapes that are drawn, so that the truth is known
pretrained    trained weights in data/models, each with a record of how it was made
"""

from .downloads import jump_stack
from .painted import painted_cells, painted_shapes
from .photographs import bsd68, bsd68_test_image, sample_photographs
from .pretrained import load_pretrained, pretrained_record
