"""How close is an image to the truth? Only for images whose truth is known."""

import numpy as np
import skimage.metrics

from ..images.arrays import as_array


def psnr(clean, image, data_range=255):
    """Return the peak signal-to-noise ratio in dB: 10 log10(data_range**2 / mean squared error).

    clean, image: arrays of one shape, in the same intensity units; nothing is clipped or rescaled.
    data_range: the span of possible values, 255 for 8-bit images. Equal images give infinity.
    Raises ValueError if the shapes differ or a value is not finite.

    >>> psnr(np.zeros((8, 8)), np.full((8, 8), 25.5))  # off by a tenth of the range
    20.0
    """
    clean, image = _pair(clean, image)
    with np.errstate(divide="ignore"):
        return float(skimage.metrics.peak_signal_noise_ratio(clean, image, data_range=data_range))


def scale_invariant_psnr(clean, image, data_range=None):
    """Return the PSNR in dB after the best scaling and shift of `image` onto `clean` (least squares).

    The field uses it for methods that lose the intensity scale (Weigert et al. 2018; CAREamics'
    default, whose data range is the span of `clean`: so is ours when data_range is None).
    Raises ValueError as `psnr` does, and for a constant `clean` without a data_range.

    >>> clean = np.array([[0.0, 100.0], [100.0, 200.0]])
    >>> scale_invariant_psnr(clean, clean / 2 + 30)
    inf
    """
    clean, image = _pair(clean, image)
    if data_range is None:
        data_range = clean.max() - clean.min()
        if data_range == 0:
            raise ValueError("clean is constant, so its range is 0: give data_range")
    image = image - image.mean()
    power = (image**2).sum()
    scale = (image * clean).sum() / power if power > 0 else 0.0
    return psnr(clean, scale * image + clean.mean(), data_range)


def ssim(clean, image, data_range=255):
    """Return the mean structural similarity, 1 for equal images (Wang et al. 2004, scikit-image's).

    clean, image: (Y, X), or a stack (..., Y, X) whose images are averaged; sides of 7 px or more.
    Raises ValueError as `psnr` does.

    >>> stripes = np.tile([0.0, 255.0], (8, 4))
    >>> round(ssim(stripes, stripes), 2), round(ssim(stripes, 255 - stripes), 2)
    (1.0, -0.96)
    """
    clean, image = _pair(clean, image)
    if clean.ndim < 2 or min(clean.shape[-2:]) < 7:
        raise ValueError(f"SSIM compares windows of 7x7 pixels: images of shape {clean.shape} are too small")
    clean, image = (stack.reshape(-1, *clean.shape[-2:]) for stack in (clean, image))
    return float(skimage.metrics.structural_similarity(clean, image, data_range=data_range, channel_axis=0))


def evaluate(clean, images, data_range=255):
    """Return PSNR, scale-invariant PSNR and SSIM of each of several images, which may differ in size.

    clean, images: lists of (Y, X). Returns a dictionary of arrays (N,): "psnr" and
    "scale_invariant_psnr" in dB, "ssim". Raises ValueError as `psnr` does, or for lists of different length.

    >>> clean = [np.zeros((8, 8)), np.zeros((7, 9))]
    >>> evaluate(clean, [image + 25.5 for image in clean])["psnr"]
    array([20., 20.])
    """
    pairs = list(zip(clean, images, strict=True))
    metrics = {"psnr": psnr, "scale_invariant_psnr": scale_invariant_psnr, "ssim": ssim}
    return {name: np.array([metric(a, b, data_range) for a, b in pairs]) for name, metric in metrics.items()}


def _pair(clean, image):
    clean, image = (as_array(one, name).astype(np.float64) for one, name in ((clean, "clean"), (image, "the image")))
    if clean.shape != image.shape:
        raise ValueError(f"clean has shape {clean.shape} but the image {image.shape}: compare images of one shape")
    if clean.size == 0 or not (np.isfinite(clean).all() and np.isfinite(image).all()):
        raise ValueError("clean and image must hold finite values only, and at least one")
    return clean, image
