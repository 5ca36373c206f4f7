"""Real data: found in a folder, or downloaded once and checked."""

import os
from pathlib import Path

import numpy as np
import pooch

from .images import load_image

BSD68 = pooch.create(
    path=pooch.os_cache("n2vlib"),
    base_url="https://download.fht.org/jug/n2v/",
    registry={
        "BSD68_reproducibility_data.zip": "sha256:32c66d41196c9cafff465f3c7c42730f851c24766f70383672e18b8832ea8e55"
    },
    retry_if_failed=3,
)


def bsd68_test_image(number=5):
    """Return one clean test image of BSD68 (Martin et al. 2001), (Y, X), intensities 0 to 255.

    number: 1 to 68. Looked for in the folder that the environment variable N2VLIB_DATA names, as
    test68/test005.png or in the layout of the Noise2Void archive (test/gt/*.tiff); without the
    variable the archive (395 MB) is downloaded once, and its checksum compared.
    The two sources number the images differently.
    Raises FileNotFoundError if the folder holds neither, ValueError for a wrong number.
    """
    if not 1 <= number <= 68:
        raise ValueError(f"number = {number} is not possible: BSD68 has the test images 1 to 68")
    folder = os.environ.get("N2VLIB_DATA")
    if folder:
        found = sorted(Path(folder).glob(f"**/test68/test{number:03d}.png")) or _ground_truth(folder, number)
        if not found:
            raise FileNotFoundError(
                f"N2VLIB_DATA={folder} holds no BSD68 test image {number}: it needs "
                f"test68/test{number:03d}.png, or test/gt/*.tiff of BSD68_reproducibility_data.zip"
            )
    else:
        files = BSD68.fetch("BSD68_reproducibility_data.zip", processor=pooch.Unzip(), progressbar=True)
        found = _ground_truth(Path(files[0]).parents[-1], number, files)
    return np.asarray(load_image(found[0]))


def _ground_truth(folder, number, files=None):
    """Return the path of the clean test image `number` of the Noise2Void archive, in a list, if it is there."""
    files = [Path(file) for file in files] if files else list(Path(folder).glob("**/test/gt/*.tiff"))
    clean = sorted(file for file in files if file.parts[-3:-1] == ("test", "gt"))
    return clean[number - 1 : number]
