"""What every detector's job reads and writes."""

from dataclasses import dataclass
from pathlib import Path

from cxr.data import image_index, image_store
from cxr.data.image_store import ImageStore
from cxr.runtime.jobs import Job
from cxr.training.runs import Run


@dataclass(frozen=True)
class BoxedImages:
    """The boxed images of a detector's job: validation split, images to predict in the end (file with image, patient,
    digest), and where their pixels are, `box_size` wide."""

    validation_split: Path
    predicted: Path
    index: Path
    store: Path
    box_size: int

    @classmethod
    def of(cls, job: Job) -> "BoxedImages":
        """Return those of a workflow's job."""
        return cls(
            Path(job.input.validation),
            Path(job.input.predicted),
            Path(job.input.index),
            Path(job.params.store),
            job.params.box_size,
        )

    def pixels(self, run: Run) -> ImageStore:
        """Open the pixels of the boxed images, `box_size` wide."""
        return image_store.open_store(self.store, image_index.read_index(self.index), self.box_size, "boxed", run.tell)


@dataclass(frozen=True)
class Outputs:
    """What a detector's job writes; schemas in docs/files.md. predictions: for the images that the job was asked for."""

    validation_predictions: Path
    predictions: Path
    facts: Path


@dataclass(frozen=True)
class Trained(Outputs):
    """What a job that trains a detector writes."""

    model: Path
    history: Path
