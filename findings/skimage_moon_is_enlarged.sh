#!/bin/sh
# scikit-image's sample image `moon` is 512x512 pixels, but holds 256x256: each pixel is repeated in a square of 2x2.
# Its first row, column by column, comes in pairs. The other grey sample images that ship with the library do not.
# So detail, resolution and noise levels measured on it hold for half the size, and noise that was in it is shared by
# neighbours: a denoiser that hides single pixels reads the hidden value off the pixel beside it.
# Seen with scikit-image 0.25.2 and 0.26.0, numpy 2.3.5.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
for version in 0.25.2 0.26.0; do
    "$folder/env/bin/python" -m pip install --quiet "scikit-image==$version" numpy==2.3.5
    "$folder/env/bin/python" - <<'PYTHON'
import numpy
import skimage

shares = {}
for name in ("camera", "coins", "moon", "brick", "grass", "gravel", "page", "text", "clock"):
    image = getattr(skimage.data, name)()
    height, width = (side // 2 * 2 for side in image.shape)
    pairs = [(image[0:height:2], image[1:height:2]), (image[:, 0:width:2], image[:, 1:width:2])]
    shares[name] = [float((one == other).mean()) for one, other in pairs]
print(f"scikit-image {skimage.__version__}, numpy {numpy.__version__}: equal to the next row / column, in pairs")
for name, (rows, columns) in shares.items():
    print(f"  {name:7} {rows:6.1%} {columns:6.1%}")
assert shares.pop("moon") == [1.0, 1.0], "moon is no longer enlarged"
assert max(max(both) for both in shares.values()) < 0.9, "another sample image is enlarged"
PYTHON
done
