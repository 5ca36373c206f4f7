"""What noise is: models of independent noise, and the covariance of noise that neighbours share, measured on the image.

Call the names below, on any array; touch anything here without a thought for networks, which nothing here knows.

models       Gaussian and Poisson-Gaussian (photon) noise: estimated, and used to get the noisy pixel back in
covariance   how the noise of a pixel and its neighbours goes together, where the image is flat
spectrum     noise of the same kind, drawn anew; photon (shot) noise told apart from the noise in the dark
report       which neighbours share the noise (a mask, by threshold or ring by ring), is there any, false-alarm rate
"""

from .covariance import lag_products, noise_autocovariance
from .models import estimate_poisson_gaussian, expected_signal, mean_and_variance, posterior_mean
from .report import noise_report, ring_mask, structural_mask
from .spectrum import draw_noise, noise_spectrum
