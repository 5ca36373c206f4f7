"""Train and predict with CAREamics; runs in an environment with careamics 0.3.5."""

import argparse
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from careamics import CAREamist
from careamics.config.factories import create_advanced_n2v_config
from lightning.pytorch import Callback
from measure import one_answer, peak_megabytes, timed

IMPORTED = peak_megabytes()
MULTIPLE = 4  # CAREamics refuses sides that are no multiple of 2**depth


class Marks(Callback):
    """Save a checkpoint at each of some moments of the training, and stop at the last."""

    def __init__(self, seconds, folder, steps=None):
        self.waiting, self.folder, self.steps = sorted(seconds), folder, steps
        self.start, self.excluded, self.reached = None, 0.0, []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index):
        """Save if the next moment is reached; what saving takes is not counted as training."""
        now = time.perf_counter()
        seconds = now - self.start - self.excluded
        enough = self.steps is not None and trainer.global_step >= self.steps
        if not self.waiting or (seconds < self.waiting[0] and not enough):
            return
        self.waiting = [mark for mark in self.waiting if mark > seconds and not enough]
        path = self.folder / f"mark{len(self.reached)}.ckpt"
        trainer.save_checkpoint(path)
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.reached.append(
            dict(
                checkpoint=str(path),
                seconds=seconds,
                steps=trainer.global_step,
                epochs=trainer.current_epoch + 1,
                learning_rate=rate,
            )
        )
        self.excluded += time.perf_counter() - now
        if not self.waiting:
            trainer.should_stop = True
            trainer.limit_val_batches = 0


def configuration(arguments):
    """Return CAREamics' default Noise2Void configuration; it leaves patch and batch size to the user."""
    # Its create_structn2v_config, which takes no seed, sets the same.
    structure = dict(struct_n2v_axes=arguments.axes, struct_n2v_span=arguments.span, augmentations=[])
    return create_advanced_n2v_config(
        experiment_name="benchmark",
        data_type="array",
        axes="YX",
        patch_size=(64, 64),
        batch_size=arguments.batch,
        num_epochs=10**6,  # the marks end the training
        seed=arguments.seed + 1,  # it must be positive
        **(structure if arguments.axes else {}),
    )


def predict_padded(careamist, image, checkpoint):
    """Predict an image of any size: reflected to a multiple of 4, and cropped."""
    below, right = (-side % MULTIPLE for side in image.shape)
    padded = np.pad(image, ((0, below), (0, right)), mode="reflect")
    predictions, _ = careamist.predict(padded, checkpoint=checkpoint)
    return np.squeeze(predictions[0])[: image.shape[0], : image.shape[1]]


def train(arguments):
    """Train on one image, and predict it with the weights of each mark."""
    noisy = np.load(arguments.image)
    marks = Marks(arguments.marks, arguments.folder, arguments.steps)
    careamist = CAREamist(
        configuration(arguments), work_dir=arguments.folder, callbacks=[marks], enable_progress_bar=False
    )
    marks.start = time.perf_counter()
    careamist.train(train_data=[noisy] * arguments.copies)
    for number, mark in enumerate(marks.reached):
        clean, mark["predict_seconds"] = timed(predict_padded, careamist, noisy, mark["checkpoint"])
        mark["file"] = str(arguments.folder / f"careamics{number}.npy")
        np.save(mark["file"], clean)
    return dict(marks=marks.reached)


def predict(arguments):
    """Predict one large image tile by tile, and measure time and peak memory."""
    image = np.load(arguments.image)
    careamist = CAREamist(checkpoint_path=arguments.checkpoint, work_dir=arguments.folder, enable_progress_bar=False)
    side, overlap = arguments.tile, arguments.overlap
    tiles = dict(tile_size=(side, side), tile_overlap=(overlap, overlap), checkpoint=arguments.checkpoint)
    careamist.predict(image[:side, :side].copy(), **tiles)  # warm up
    _, seconds = timed(careamist.predict, image, **tiles)
    return dict(seconds=seconds, peak=peak_megabytes(), imported=IMPORTED)


def main():
    """Run one of the two commands and answer with its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("train")
    one.add_argument("--marks", nargs="+", type=float, required=True, help="seconds of training")
    one.add_argument("--batch", type=int, required=True)
    one.add_argument("--copies", type=int, default=1, help="times the image is given: longer epochs")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--steps", type=int, help="end after so many steps at the latest")
    one.add_argument("--axes", choices=("horizontal", "vertical", "cross", "square"), help="structN2V with this mask")
    one.add_argument("--span", type=int, default=5, help="of the mask of structN2V")
    one.set_defaults(run=train)
    two = commands.add_parser("predict")
    two.add_argument("--checkpoint", type=Path, required=True)
    two.add_argument("--tile", type=int, default=256)
    two.add_argument("--overlap", type=int, default=48)
    two.set_defaults(run=predict)
    for command in (one, two):
        command.add_argument("--image", type=Path, required=True)
        command.add_argument("--folder", type=Path, required=True)
        command.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with one_answer() as answer:
        versions = dict(careamics=version("careamics"), torch=torch.__version__)
        answer(arguments.run(arguments) | dict(versions=versions))


if __name__ == "__main__":
    main()
