#!/bin/sh
# skimage.io.imread turns a TIFF stack of exactly three or four slices, (3, Y, X), into (Y, X, 3), the shape of a colour
# image; a stack of two or five comes as it is stored, and so does what tifffile reads from the same file, which says in
# its tags that it is grey. Code that was tried on longer stacks then loses an axis, or averages "colours" that are slices.
# Seen with scikit-image 0.25.2 and 0.26.0, tifffile 2026.3.3, imageio 2.37.4, numpy 2.3.5.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
for version in 0.25.2 0.26.0; do
    "$folder/env/bin/python" -m pip install --quiet "scikit-image==$version" tifffile==2026.3.3 imageio==2.37.4 numpy==2.3.5
    (cd "$folder" && env/bin/python - <<'PYTHON'
import numpy
import skimage.io
import tifffile

print(f"scikit-image {skimage.__version__}, tifffile {tifffile.__version__}")
for slices in (2, 3, 4, 5):
    stack = numpy.arange(slices * 20 * 30, dtype="uint16").reshape(slices, 20, 30)
    tifffile.imwrite("stack.tif", stack, photometric="minisblack", metadata={"axes": "ZYX"})
    shape, stored = skimage.io.imread("stack.tif").shape, tifffile.imread("stack.tif").shape
    print(f"  {slices} slices: skimage.io.imread {shape}, tifffile.imread {stored}")
    assert stored == (slices, 20, 30)
    assert shape == ((20, 30, slices) if slices in (3, 4) else stored), "slices are no longer taken for colours"
PYTHON
    )
done
