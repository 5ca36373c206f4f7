"""What noise is: models of independent noise, and the covariance of noise that neighbours share, measured on the image.

Call the names below, on any array; touch `models` for another law of the noise (losses and denoiser apply it), and
`law` or `report` to measure or judge it otherwise.

validity     clipped, rounded, enlarged, demosaicked: what makes a measurement misleading
models       Gaussian and Poisson-Gaussian (photon) noise: estimated, and its posterior mean
covariance   how the noise of a pixel and its neighbours goes together, where the image is flat
waves        hum, interference, grids, converters in turn: found by their one phase all over a page, and fitted
lines        whole rows or columns that are offset in brightness: found by what far parts share, and estimated
spectrum     noise of the same kind, drawn anew; what photons (shot noise) add to neighbours' noise where it is bright
masks        which neighbours share the noise, and are hidden: by threshold, ring by ring, whole lines; false alarms
pages        what is measured: some pages of a channel, without borders, empty frames and gaps
law          all of these measured in turn, once: the law that report, masks, training and comparison share
report       the verdict in sentences: the kinds found, what to do, and what cannot be known
choice       noise_model="auto": the model that the noise asks for, and why
"""

from .covariance import lag_products, noise_autocovariance, residual_autocorrelation
from .law import draw_from_law, noise_law, pattern
from .masks import ring_mask, structural_mask
from .models import estimate_poisson_gaussian, expected_signal, mean_and_variance, posterior_mean
from .report import noise_report
from .spectrum import draw_noise, noise_spectrum
