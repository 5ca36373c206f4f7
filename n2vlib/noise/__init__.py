"""What noise is: models of white noise, and the covariance of noise that neighbours share, measured on the image.

Call the names below, on any array. Touch `models` to teach the network another law of the noise, `covariance` and
`report` to judge it otherwise; nothing here knows of networks.
"""

from .covariance import lag_products, noise_autocovariance
from .models import estimate_poisson_gaussian, expected_signal, mean_and_variance, posterior_mean
from .report import noise_report, ring_mask, structural_mask
from .spectrum import draw_noise, noise_spectrum
