"""The forecaster ``volumetric-unet``: video in, traces out.

Source: Immer et al. 2025, "Forecasting Whole-Brain Neuronal Activity from Volumetric Video"
(arXiv 2503.00073).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from baselines.volumetric.configuration import Configuration, Head, Precision, Skip
from baselines.volumetric.memory import available_bytes, training_bytes
from baselines.volumetric.settings import Settings
from zapeval.errors import InvalidInput, UsageError
from zapeval.forecasting.contexts import VIDEO, Contexts
from zapeval.forecasting.forecaster import Forecaster
from zapeval.forecasting.training import Training
from zapeval.recordings.grid import Grid

if TYPE_CHECKING:
    from baselines.training import Plan
    from baselines.volumetric.film import Film
    from baselines.volumetric.sharding import Layout
    from baselines.volumetric.specimens import Specimen

_DOCUMENT, _PARAMS = "model.json", "params"


@final
class VolumetricUNet(Forecaster):
    """Trains a UNet on video; by default as the paper's S256.

    Args:
        levels: Resamplings, 0 to 4: 0, 2 and 4 are the paper's S21, S64 and S256.
        features: Features at every resolution.
        groups: Groups of the group norms.
        blocks: Residual blocks at each level; the coarsest has one more.
        resolution: How much coarser in x and y it sees the video: 1, 2 or 4.
        full_resolution: Whether it forecasts at the resolution of the video all the same.
        crop: Size of the centre of the frames to keep, [x, y, z] in voxels of the video.
        head: ``lead-time``, ``direct``, ``hl-gauss`` or ``autoregression``.
        loss: ``trace``, ``voxel`` or ``hl-gauss``.
        past_stimulus: Whether FiLM tells it the stimulus of the context.
        future_stimulus: Whether FiLM tells it the stimulus of the horizon, known beforehand.
        skip: How levels are joined: ``add`` or ``concat``.
        upsampled_features: Features beyond the resolution at which it sees the video.
        bins: Bins of the head ``hl-gauss``.
        dropout: Share of channels dropped; by default 0.1 with 256 frames of context, else 0.
        precision: Of convolutions: ``float32`` or ``bfloat16``.
        remat: Whether to compute twice what would not fit into memory.
        steps: Training steps.
        batch: Windows a step.
        rate: Learning rate at first; a cosine leads it to a thousandth.
        validate_every: Steps from one validation to the next; by default a hundredth
            of all, 50 at least.
        validation: Windows to validate with, at most.
        mesh: Parts of [batch, x, y] over the devices; by default all of them cut x and y.
        others: Further recordings whose frames are trained on as well: folders, or TOML files.
    """

    name: ClassVar[str] = "volumetric-unet"
    version: ClassVar[str] = "1"
    covariates: tuple[str, ...] = (VIDEO,)
    when_forecasting = ("mesh",)  # parameters are the same on any number of devices

    def __init__(
        self,
        levels: int = 4,
        features: int = 128,
        groups: int = 16,
        blocks: int = 3,
        resolution: int = 4,
        full_resolution: bool = False,
        crop: Sequence[int] | None = None,
        head: Head = "lead-time",
        loss: str = "trace",
        past_stimulus: bool = False,
        future_stimulus: bool = False,
        skip: Skip = "add",
        upsampled_features: int = 32,
        bins: int = 64,
        dropout: float | None = None,
        precision: Precision = "float32",
        remat: bool = False,
        steps: int = 250_000,
        batch: int = 1,
        rate: float = 1e-4,
        validate_every: int | None = None,
        validation: int = 128,
        mesh: Sequence[int] | None = None,
        others: Sequence[str] = (),
    ) -> None:
        self._settings = Settings(
            levels=levels,
            features=features,
            groups=groups,
            blocks=blocks,
            resolution=resolution,
            full_resolution=full_resolution,
            crop=crop,
            head=head,
            loss=loss,
            past_stimulus=past_stimulus,
            future_stimulus=future_stimulus,
            skip=skip,
            upsampled_features=upsampled_features,
            bins=bins,
            dropout=dropout,
            precision=precision,
            remat=remat,
            steps=steps,
            batch=batch,
            rate=rate,
            validate_every=validate_every,
            validation=validation,
            mesh=mesh,
            others=others,
        )
        self.covariates = (VIDEO, *self._settings.told)
        self._configuration: Configuration | None = None
        self._params: Any = None
        self._specimens: dict[object, Specimen] = {}

    @property
    def plan(self) -> Plan:
        """How it is trained; as the paper, on all steps."""
        from baselines.training import Plan

        s = self._settings
        return Plan(
            batch=s.batch,
            learning_rate=s.rate,
            floor=s.rate / 1000,
            weight_decay=1e-5,
            schedule="cosine",
            max_steps=s.steps,
            validate_every=s.validation_steps,
            patience=s.steps,
            min_delta=0.0,
        )

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Its settings."""
        said = asdict(self._settings)
        return {name: list(v) if isinstance(v, tuple) else v for name, v in said.items()}

    @property
    def size(self) -> int | None:
        """Number of learned parameters."""
        from baselines.volumetric.structure import parameter_count

        return None if self._configuration is None else parameter_count(self._configuration)

    def fit(self, training: Training) -> None:
        """Trains on all steps; keeps the parameters that forecast validation traces best."""
        from baselines.training import train
        from baselines.volumetric.learning import losses_of, new_parameters
        from baselines.volumetric.loader import VideoBatches
        from baselines.volumetric.others import other_series

        if training.protocol != "horizon":
            raise InvalidInput(
                f"{self.name}: forecasts a horizon from a context of fixed length, but "
                f"{training.benchmark} has the protocol {training.protocol!r}"
            )
        s, layout = self._settings, self._layout
        features = _features(training) if s.told else 0
        configuration = s.configuration(training.context, training.horizon, features)
        loss, judge = losses_of(configuration, s.loss, layout)
        batches = VideoBatches(
            training,
            configuration,
            layout,
            size=s.batch,
            kept=s.kept,
            resolution=s.resolution,
            validation=s.validation,
            others=other_series(s.others, training, self.covariates),
        )
        self._tell(training, configuration, batches.specimens)
        params = new_parameters(configuration, training.seed, layout)
        self._params, _ = train(
            loss, params, batches, self.plan, training, where=layout.everywhere, judge=judge
        )
        self._take(configuration)

    def save(self, folder: Path) -> None:
        """Writes the parameters, a file each, and the configuration that they are for."""
        from baselines.keeping import flat

        document = asdict(self._fitted())
        (folder / _DOCUMENT).write_text(json.dumps(document, indent=1), encoding="utf-8")
        (folder / _PARAMS).mkdir()
        for name, values in flat(self._params).items():
            np.save(folder / _PARAMS / f"{name}.npy", np.asarray(values), allow_pickle=False)

    def load(self, folder: Path) -> None:
        """Takes up saved parameters.

        Raises:
            InvalidInput: They are of another configuration.
        """
        from baselines.keeping import flat, unflat
        from baselines.volumetric.learning import split_model
        from baselines.volumetric.specimens import placed

        text = (folder / _DOCUMENT).read_text(encoding="utf-8")
        found = Configuration(**json.loads(text))
        self._settings.check_same(found, folder)
        layout = self._layout
        abstract = split_model(found, layout)[1]
        files = {name: folder / _PARAMS / f"{name}.npy" for name in flat(abstract)}
        leaves = {
            n: placed(np.load(p, allow_pickle=False), layout.everywhere) for n, p in files.items()
        }
        self._params = unflat(abstract, leaves)
        self._take(found)

    def forecast(self, contexts: Contexts) -> np.ndarray:
        """Returns traces: means of each forecast frame over each neuron's voxels; NaN without any.

        Windows are forecast one by one, all lead times of one from frames that are read once.
        """
        neurons = contexts.activity.shape[2]
        anatomy = self._specimen(contexts, neurons).anatomy
        traces = np.empty((len(contexts), contexts.horizon, neurons), np.float32)
        for window, frames, stimuli in self._seen(contexts):
            traces[window] = np.asarray(self._call(self._params, frames, anatomy, *stimuli))
        traces[:, :, anatomy.missing] = np.nan
        return traces

    def frames(self, contexts: Contexts) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yields ``(window, step, frame)``: the frames of which the traces are the means."""
        for window, frames, stimuli in self._seen(contexts):
            for step, frame in self._film(self._params, frames, *stimuli):
                yield window, step, frame

    def grid_of(self, contexts: Contexts) -> Grid:
        """Returns where the voxels of its frames lie in the segmentation."""
        specimen = self._specimen(contexts, contexts.activity.shape[2])
        return specimen.crop.grid(specimen.output)

    def _seen(self, contexts: Contexts) -> Iterator[tuple[int, Any, list[Any]]]:
        """Yields each window, what the model sees of it, a copy for each part, and is told.

        Raises:
            InvalidInput: It was trained for contexts of another length, or horizons.
        """
        from baselines.volumetric.specimens import Loader

        c = self._fitted()
        _, context, neurons = contexts.activity.shape
        if (context, contexts.horizon) != (c.context, c.horizon):
            raise InvalidInput(
                f"{self.name}: was trained for {c.context} frames of context and {c.horizon} "
                f"steps, asked for {context} and {contexts.horizon}"
            )
        video = contexts.video
        if video is None:
            raise InvalidInput(f"{self.name}: {contexts.series}: has no video to forecast from")
        crop, loader = self._specimen(contexts, neurons).crop, Loader()
        for window in range(len(contexts)):
            reads = [partial(video.part, window)] * self._layout.batch
            frames = loader.frames(reads, context, crop, crop.resolution, self._layout.frames)
            yield window, frames, self._stimuli(contexts, window)

    def _stimuli(self, contexts: Contexts, window: int) -> list[Any]:
        """Returns what the model is told of a window's stimulus: past, future, None for neither."""
        from baselines.volumetric.specimens import placed, told_stimulus

        c, copies, found = self._fitted(), self._layout.batch, []
        for stimulus, features in (
            (contexts.stimulus, c.past_stimulus),
            (contexts.future_stimulus, c.future_stimulus),
        ):
            one = None if stimulus is None else stimulus[window : window + 1]
            told = told_stimulus(contexts.series, [one] * copies, features)
            found.append(None if told is None else placed(told, self._layout.windows))
        return found

    @cached_property
    def _layout(self) -> Layout:
        from baselines.volumetric.sharding import default_layout, layout_over

        if self._settings.mesh is None:
            return default_layout()
        batch, x, y = self._settings.mesh
        return layout_over(batch=batch, x=x, y=y)

    @cached_property
    def _call(self) -> Callable[..., Any]:
        from baselines.volumetric.learning import forecast_of

        return forecast_of(self._fitted(), self._layout)

    @cached_property
    def _film(self) -> Film:
        from baselines.volumetric.film import film_of

        return film_of(self._fitted(), self._layout)

    def _specimen(self, contexts: Contexts, neurons: int) -> Specimen:
        """Returns what is seen of a recording, made once for it."""
        from baselines.volumetric.specimens import specimen_of

        if contexts.video is None:
            raise InvalidInput(f"{self.name}: {contexts.series}: has no video to forecast from")
        labels, (x, y, z) = contexts.video.labels, contexts.video.shape
        key = (labels.uri, x, y, z, neurons)
        if key not in self._specimens:
            self._specimens.clear()
            self._specimens[key] = specimen_of(
                self._fitted(),
                self._layout,
                labels,
                (x, y, z),
                neurons,
                mask=None,
                kept=self._settings.kept,
                resolution=self._settings.resolution,
            )
        return self._specimens[key]

    def _tell(self, training: Training, c: Configuration, specimens: Sequence[Specimen]) -> None:
        """Tells which neurons are lost and how much memory a step needs, before the first one.

        Raises:
            InvalidInput: A device has far less.
        """
        import jax

        from baselines.volumetric.specimens import loss_of_neurons

        for specimen in specimens:
            sentence = loss_of_neurons(specimen)
            if sentence:
                training.note(sentence)
        parts = self._layout.shards[0] * self._layout.shards[1]
        windows = self._settings.batch // self._layout.batch
        needed = max(training_bytes(c, s.crop.size, windows, parts) for s in specimens)
        device = jax.local_devices()[0]
        there = available_bytes(device.platform, device.memory_stats())
        if device.platform == "cpu":  # simulated devices share what there is
            needed *= len(jax.local_devices())
        has = "" if there is None else f", which has {_gib(there)}"
        training.note(f"a step needs about {_gib(needed)} on each {device.platform}{has}")
        # What compilers fuse is kept once: a device of half the size may do.
        if there is not None and needed > 2 * there:
            raise InvalidInput(
                f"{self.name}: a training step needs about {_gib(needed)}, but the "
                f"{device.platform} has {_gib(there)}; set remat=true or precision=bfloat16, fewer "
                "features or a coarser resolution, or use more devices"
            )

    def _take(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self.__dict__.pop("_call", None)
        self.__dict__.pop("_film", None)
        self._specimens.clear()

    def _fitted(self) -> Configuration:
        if self._configuration is None:
            raise UsageError(f"{self.name}: is not trained yet; fit it or load a checkpoint")
        return self._configuration


def _features(training: Training) -> int:
    """Returns the number of stimulus features of the first recording that is trained on."""
    first = training.series[0]
    contexts = first.contexts(first.train_origins[:1])
    seen = [s for s in (contexts.stimulus, contexts.future_stimulus) if s is not None]
    return seen[0].shape[2] if seen else 0


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"
