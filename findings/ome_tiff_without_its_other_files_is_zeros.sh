#!/bin/sh
# An OME-TIFF may be one of several files of an image: each names all of them. If one of these is not there (only some were
# copied), tifffile and scikit-image still return the whole image: the planes of the missing file are zeros, with no
# exception and no warning of Python's; tifffile alone says so, to its logger. A denoiser then learns from
# images that were never taken, and a mean over time is too low. So count a stack's empty planes, or ask tifffile's pages.
# Seen with tifffile 2025.10.16 and 2026.3.3, scikit-image 0.26.0, numpy 2.3.5.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
for version in 2025.10.16 2026.3.3; do
    "$folder/env/bin/python" -m pip install --quiet "tifffile==$version" scikit-image==0.26.0 numpy==2.3.5
    (cd "$folder" && env/bin/python -W error - <<'PYTHON'
import logging
import pathlib
import uuid

import numpy
import skimage.io
import tifffile

logging.getLogger("tifffile").addHandler(logging.NullHandler())
stack = numpy.random.default_rng(0).integers(100, 200, (5, 20, 30)).astype("uint16")
names = [f"time{t}.ome.tif" for t in range(5)]
ids = [f"urn:uuid:{uuid.UUID(int=t + 1)}" for t in range(5)]
parts = "".join(
    f'<TiffData FirstT="{t}" IFD="0" PlaneCount="1"><UUID FileName="{names[t]}">{ids[t]}</UUID></TiffData>'
    for t in range(5)
)
for t in range(5):
    description = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{ids[t]}"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="30" SizeY="20" SizeZ="1" SizeC="1" SizeT="5">'
        f'<Channel ID="Channel:0:0"/>{parts}</Pixels></Image></OME>'
    )
    tifffile.imwrite(names[t], stack[t], photometric="minisblack", metadata=None, description=description)
assert (tifffile.imread(names[0]) == stack).all(), "the whole set is not read"
pathlib.Path(names[2]).unlink()
print(f"tifffile {tifffile.__version__}, scikit-image {skimage.__version__}: mean of each plane, of 5, without {names[2]}")
for read in (tifffile.imread, skimage.io.imread):
    image = read(names[0])
    means = image.mean(axis=(1, 2)).round(1).tolist()
    print(f"  {read.__module__}.{read.__name__}: {image.shape} {means}")
    assert image.shape == (5, 20, 30) and means[2] == 0 and min(means[:2]) > 100, "the missing plane is no longer zeros"
PYTHON
    )
done
