"""The presets of the two-stage pipeline, and what each of its names means for N2VConfig."""

NUMBERED = ("mean", "zero", "random")  # mask_strategy 0, 1, 2

# One table: the pipeline's name, and N2VConfig's.
NAMES = {
    "features": "num_channels_init",
    "num_layers": "depth",
    "patch_size": "patch_size",
    "batch_size": "batch_size",
    "mask_percentage": "masked_pixel_percentage",
    "mask_strategy": "strategy",
    "roi_size": "roi_size",
    "use_augmentation": "augment",
    "optimizer": "optimizer",
    "learning_rate": "learning_rate",
    "lr_scheduler": "lr_scheduler",
    "average_weights": "average_weights",
    "num_epochs": "max_epochs",
    "max_seconds": "max_seconds",
    "random_seed": "seed",
    "device": "device",
}

# As the documentation of autoStructN2V has it; where that says nothing: as in N2VConfig.paper().
_GENERAL = dict(
    preset="documented",
    run_stage1=True,
    run_stage2=True,
    split_ratio=(0.7, 0.15, 0.15),
    num_epochs=100,
    early_stopping=True,
    early_stopping_patience=10,
    max_seconds=None,
    random_seed=42,
    device="auto",
    axes=None,
    tta=False,
    output_dir=None,
    quiet=False,
)
_STAGE = dict(
    features=64,
    num_layers=2,
    batch_size=4,
    mask_strategy=0,
    roi_size=3,
    use_augmentation=True,
    optimizer="adam",
    lr_scheduler="plateau",
    average_weights=0,
    roi_threshold=0.5,
    scale_factor=0.25,
)
_STAGE1 = _STAGE | dict(
    patch_size=32,
    patches_per_image=100,
    mask_percentage=15,
    mask_center_size=1,
    learning_rate=1e-4,
    use_roi=True,
    select_background=True,
)
_EXTRACTOR = dict(
    mask_size=11,
    share=10,
    threshold=0.15,
    base_percentile=50,
    percentile_decay=1.15,
    center_ratio_threshold=0.3,
    max_true_pixels=25,
)
_STAGE2 = _STAGE | dict(
    method="structn2v",
    patch_size=64,
    batch_size=2,
    patches_per_image=200,
    mask_percentage=10,
    learning_rate=1e-5,
    use_roi=True,
    select_background=False,
    mask_source="stage1",
    mask_file_path=None,
    mask_method="rings",
    extractor=_EXTRACTOR,
    recorruption=0.5,
    draws=8,
)
DOCUMENTED = _GENERAL | dict(stage1=_STAGE1, stage2=_STAGE2)

# For a minute a stage on two cores; network and optimizer as measured for N2VConfig's defaults. Training on all of an
# image instead of 70 % changes nothing that can be seen (27.87 dB either way), and is simpler.
_FAST = dict(
    features=16,
    patch_size=64,
    batch_size=4,
    optimizer="muon",
    learning_rate=2e-3,
    lr_scheduler="cosine",
    average_weights=0.99,
    use_roi=False,
)
BEST = DOCUMENTED | dict(
    preset="best",
    split_ratio=(1, 0, 0),
    early_stopping=False,
    tta=True,
    stage1=_STAGE1 | _FAST | dict(mask_strategy="uniform", roi_size=11, mask_percentage=11),
    stage2=_STAGE2
    | _FAST
    | dict(
        mask_method="flat_patches",
        extractor=_EXTRACTOR
        | dict(base_percentile=None, percentile_decay=None, center_ratio_threshold=None, max_true_pixels=None),
    ),
)
# What None stands for: the best on background denoised by stage 1, which smears the noise, and on the noise itself.
RINGS = {
    "stage1": dict(base_percentile=55, percentile_decay=1.0, center_ratio_threshold=0.175),
    "extractor": dict(base_percentile=30, percentile_decay=1.15, center_ratio_threshold=0.1),
}
PRESETS = {"best": BEST, "documented": DOCUMENTED}
