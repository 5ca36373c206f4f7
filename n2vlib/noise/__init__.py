"""What noise is: models of independent noise, and the covariance of noise that neighbours share, measured on the image.

Call the names below, on any array; touch `models` for another law of the noise (losses and denoiser apply it), and
`covariance` or `report` to judge it otherwise.

models       Gaussian and Poisson-Gaussian (photon) noise: estimated, and its posterior mean
covariance   how the noise of a pixel and its neighbours goes together, where the image is flat
spectrum     noise of the same kind, drawn anew; what photons (shot noise) add to neighbours' noise where it is bright
report       which neighbours share the noise: the mask, by threshold or ring by ring, the verdict, its false alarms
"""

from .covariance import lag_products, noise_autocovariance
from .models import estimate_poisson_gaussian, expected_signal, mean_and_variance, posterior_mean
from .report import noise_report, ring_mask, structural_mask
from .spectrum import draw_noise, noise_spectrum
