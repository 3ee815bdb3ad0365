"""The run directory of a training: a new one, or that of a run to go on with or to replace."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sslcli.config.presets import resolve, to_toml
from sslcli.config.schema import Config
from sslcli.engine.run_directory import CONFIG, check_free, create_run, lock_run, resumable_run
from sslcli.environment import world
from sslcli.errors import ConfigError, UsageError
from sslcli.files import write_atomically

if TYPE_CHECKING:
    from sslcli.engine.checkpoint import Checkpoint


@dataclass(frozen=True)
class Place:
    """The folder of a run, and whether it may exist already.

    Attributes:
        out: The run directory; None for a free one below runs/.
        resume: Go on with the run that is there.
        overwrite: Replace the run that is there.
    """

    out: str | None
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.resume and self.overwrite:
            where, hint = "resume, overwrite", "leave out one of them"
            raise UsageError("a run is either gone on with or replaced", where, hint)
        if self.resume and not self.out:
            raise UsageError(
                "`resume` needs the run's folder", "out", "say where it lies with `out`"
            )

    def stored(self) -> Config:
        """Return the config of the run to resume, as its folder has it."""
        return resolve(config_file=resumable_run(Path(str(self.out)))).config

    def saved(self) -> "Checkpoint | None":
        """Return the saved state of the run to resume; None for a new run or without a state."""
        if not self.resume:
            return None
        from sslcli.workflows.resuming import saved  # noqa: PLC0415  torch, which a plan needs not

        return saved(Path(str(self.out)))

    def check(self, config: Config) -> Path:
        """Return the run directory, having checked that this run may be made or resumed there.

        Raises:
            SslError: If something else is there, or nothing to resume.
        """
        run = Path(self.out) if self.out else _free_folder(config)
        if not self.resume:
            check_free(run, overwrite=self.overwrite)
            return run
        from sslcli.workflows.resuming import refused, spelled  # noqa: PLC0415  as above

        if differing := refused(stored := self.stored(), config, self.saved()):
            hint = "repeat the first command's options or leave them all out, or start another run"
            if began := spelled(stored, differing):
                hint += f"; it began with {began}"
            raise ConfigError("a resumed run keeps its config", ", ".join(differing), hint)
        return run

    def make(self, config: Config) -> Path:
        """Make the run directory, unless the run is resumed; write its config and return it."""
        try:
            run = self.check(config)
            if self.resume:
                lock_run(run)
            else:
                create_run(run, overwrite=self.overwrite)
        except UsageError:
            if self.out:
                raise
            return self.make(config)  # another process took the free folder: find the next
        write_atomically(run / CONFIG, lambda path: path.write_text(to_toml(config), "utf-8"))
        if config.tokenizer and not self.resume:
            from sslcli.data.text.kept import keep  # noqa: PLC0415  as above

            keep(config.tokenizer.digest, run)
        return run


def restarted(place: Place) -> Place:
    """Return the place of a training that a launcher has restarted: it resumes if it had begun.

    Raises:
        UsageError: If nobody can tell which run that was.
    """
    if not world().restarts:
        return place
    if not place.out:
        raise UsageError(
            "a restarted training cannot find its run", "out", "say where it lies with `out`"
        )
    if (Path(place.out) / CONFIG).is_file():
        return Place(place.out, resume=True)
    return place


def _free_folder(config: Config) -> Path:
    preset = config.preset.removesuffix(".toml")
    name = Path(preset).name if preset != config.preset else preset.replace("/", "-")
    name = name or config.method.name
    folders = (Path("runs") / (name if n == 1 else f"{name}-{n}") for n in range(1, 10_000))
    return next(folder for folder in folders if not folder.exists())
