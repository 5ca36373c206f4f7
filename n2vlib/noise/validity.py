"""What was done to an image before, as far as it makes its noise misleading: clipped, rounded, enlarged, demosaicked.

Each function looks at one thing; `report` puts what they find into sentences.
"""

import numpy as np
import scipy.ndimage
import scipy.special  # scipy.stats and scipy.signal would take 36 MB more, and half a second

CLIPPED = 0.0005  # of the pixels, at one extreme value and by far more than next to it
LARGEST_FACTOR = 8  # of enlarging by repeated pixels
UNEQUAL = 3  # ratio of variances in the four places of a 2x2 tile: 4 and more after demosaicking, 1.9 by chance


def clipped_values(image, sigma):
    """Find the values at which an image is clipped: the darkest or brightest that many pixels share.

    image: any shape, in intensity units. sigma: of the noise, which would spread them. Counts of few photons share 0
    by themselves, so nothing is found where the noise is weaker than 1.5 grey levels.
    Returns a list of (value, share of the pixels).

    >>> noisy = np.random.default_rng(0).normal(20, 25, (100, 100)).clip(0, 255)
    >>> [(float(value), round(share, 2)) for value, share in clipped_values(noisy, 25)]
    [(0.0, 0.21)]
    """
    image = np.asarray(image)
    found, step = [], grey_level(image)
    if sigma < 1.5 * step:
        return found
    for value, inwards in ((image.min(), 1), (image.max(), -1)):
        at = np.count_nonzero(image == value)
        distance = (image.astype(np.float64) - value) * inwards
        width = max(sigma / 4, step)
        beside = np.count_nonzero((distance > 0) & (distance <= width))
        expected = beside * max(step, 1e-9 * sigma) / width  # if values went on evenly
        if at > CLIPPED * image.size and at > 4 * expected + 10:
            found.append((value.item(), float(at / image.size)))
    return found


def clipping_bias(image, value, sigma):
    """Return by how much clipping at a value shifts the mean where it occurs, averaged there, in intensity units.

    A normal variable with mean m, clipped at c, has the mean c + sigma (f(a) - a F(-a)) with a = (m - c) / sigma
    (Tobin 1958); how often it is clipped, in the 15x15 pixels around, tells a.
    """
    share = scipy.ndimage.uniform_filter((np.asarray(image) == value).astype(np.float64), 15)
    share = share[share > 0.005].clip(max=0.995)
    if not share.size:
        return 0.0
    distance = -scipy.special.ndtri(share)
    density = np.exp(-(distance**2) / 2) / np.sqrt(2 * np.pi)
    return float(np.mean(sigma * (density - distance * share)))


def grey_level(image):
    """Return the step between an image's values, in intensity units: 1 for most integers, 0 where there is none.

    >>> grey_level(np.array([[16, 32], [48, 16]], np.uint16))
    16.0
    """
    image = np.asarray(image)
    some = np.unique(image.reshape(-1)[:: max(1, image.size // 65536)].astype(np.float64))
    steps = np.diff(some)
    if not steps.size:
        return 0.0
    whole = image.dtype.kind in "iub" or (np.abs(some).max() < 2**53 and np.array_equal(some, np.round(some)))
    if whole:
        return float(np.gcd.reduce(steps.round().astype(np.int64)))
    multiples = steps / steps.min()  # integers in other units, counts divided by 255
    return float(steps.min()) if np.abs(multiples - multiples.round()).max() < 0.01 else 0.0


def enlargement(page):
    """Return by which factor a page (Y, X) was enlarged by repeating pixels: 1 if it was not.

    >>> enlargement(np.kron(np.random.default_rng(0).normal(size=(32, 32)), np.ones((3, 3))))
    3
    """
    equal = [(turned[:, 1:] == turned[:, :-1]).mean(axis=0) for turned in (page.T, page)]
    for factor in range(LARGEST_FACTOR, 1, -1):
        if all(_repeats(one, factor) for one in equal):
            return factor
    return 1


def _repeats(equal, factor):
    """Return whether columns come in groups of `factor` equal ones, and the groups differ from each other.

    equal: the share of pixels that are equal to those of the next column, for each column but the last.
    """
    places = np.arange(len(equal)) % factor
    means = np.array([equal[places == place].mean() for place in range(factor)]) if len(equal) >= factor else np.ones(1)
    return bool((means > 0.999).sum() == factor - 1 and means.min() < 0.9)


def unequal_places(page):
    """Return the ratio of the noise's variances between the places of a 2x2 tile: well above 1 after demosaicking.

    A colour camera measures each colour in some of the places and takes the mean of neighbours in the others.
    """
    page = np.asarray(page, np.float64)
    kernel = np.array([[1, 0, -2, 0, 1]]) / np.sqrt(6)  # the same places two pixels away: variances do not mix
    detail = np.abs(scipy.ndimage.convolve(scipy.ndimage.convolve(page, kernel), kernel.T))
    size = 24
    rows, columns = (length // size * size for length in page.shape)
    tiles = detail[:rows, :columns].reshape(rows // size, size, columns // size, size).swapaxes(1, 2)
    tiles = tiles.reshape(-1, size, size)
    calm = tiles[np.argsort(np.median(tiles, axis=(1, 2)))[: max(16, len(tiles) // 5)]]
    spread = np.array([np.median(calm[:, y::2, x::2]) for y in (0, 1) for x in (0, 1)]) ** 2
    return float(spread.max() / max(spread.min(), 1e-300)) if spread.max() > 0 else 1.0
