"""Options that several commands share: the same word means the same thing everywhere."""

from functools import partial
from typing import Annotated, Literal

from typer import Argument, Option

# An option in each group of `--help`.
what = partial(Option, rich_help_panel="What to do")
data = partial(Option, rich_help_panel="Data")
run = partial(Option, rich_help_panel="Run")
device = partial(Option, rich_help_panel="Device")
output = partial(Option, rich_help_panel="Output")

Checkpoint = Annotated[
    str,
    Argument(
        metavar="CKPT",
        help="A run directory, a checkpoint.safetensors, or weights of another code.",
    ),
]
Method = Annotated[
    str | None,
    what(
        "--method",
        help="A paper, or your own path/to/file.py:Class; picks the preset for the data.",
    ),
]
Code = Annotated[
    str | None,
    what(
        "--method",
        metavar="FILE.py:CLASS",
        help="Where the class lies that the checkpoint names: that code may then run.",
    ),
]
Preset = Annotated[
    str | None,
    what("--preset", help="method/setting, see `ssl presets list`, or a .toml file."),
]
Encoder = Annotated[
    str | None,
    what(
        "--encoder",
        metavar="NAME",
        help="Network of weights of another code, such as resnet50.",
        show_default="by names and shapes",
    ),
]
PresetOf = Annotated[
    str | None,
    what(
        "--preset",
        help="Whose images and protocols suit weights of another code.",
        show_default="by names and shapes",
    ),
]
ConfigFile = Annotated[
    str | None,
    what(
        "--config",
        metavar="FILE",
        help="A .toml laid over the preset, such as a run's config.toml.",
    ),
]
Data = Annotated[
    str | None,
    data("--data", help="A built-in set (ssl data list), a folder, a .tar or pattern, a .csv."),
]
Test = Annotated[
    str | None,
    data("--test", help="Held-out data, when --data has no test part."),
]
DataRoot = Annotated[
    str | None,
    data("--data-root", help="Folder of torchvision's data sets.", show_default="the preset's"),
]
Download = Annotated[
    bool,
    data("--download", help="Allow a torchvision set to be fetched."),
]
Set = Annotated[
    list[str] | None,
    what(
        "--set",
        metavar="KEY=VALUE",
        help="Change any field of the config; a TOML value. Repeatable.",
    ),
]
Seed = Annotated[
    int | None,
    what("--seed", min=0, help="Decides every random choice."),
]
Seeds = Annotated[
    str | None,
    what("--seeds", metavar="0-4", help="Repeat over seeds; mean, deviation and n."),
]
Shots = Annotated[
    str | None,
    what(
        "--shots",
        metavar="1,2,5,10",
        help="Also learn from so many training images of each class; mean and 95 % interval.",
    ),
]
Draws = Annotated[int, what("--draws", min=2, help="Draws of each number of --shots.")]
Layers = Annotated[
    str | None,
    what(
        "--layers",
        metavar="NAME",
        help="Features to take: encoder, head, last-4, last-1+patches or quadrants.",
        show_default="the preset's",
    ),
]
Tower = Annotated[
    Literal["image", "text"] | None,
    what(
        "--tower",
        help="Tower that is evaluated, with its projection, of a method with one of each.",
        show_default="the encoder",
    ),
]
PerClass = Annotated[
    bool, output("--per-class", help="Also print each class's accuracy; JSON always has it.")
]
Confusion = Annotated[
    bool,
    output("--confusion", help="Draw the confusion matrix in figures/; its counts go into JSON."),
]
Resume = Annotated[
    bool,
    run("--resume", help="Go on from the run's newest whole state."),
]
MaxTime = Annotated[
    str | None,
    run("--max-time", metavar="3h55m", help="Save the state, stop and exit 75 after this long."),
]
Overwrite = Annotated[bool, run("--overwrite", help="Replace what is already there.")]
Log = Annotated[
    Literal["tensorboard", "wandb", "mlflow", "trackio"] | None,
    run(
        "--log",
        help="Where the rows of metrics.jsonl go, too; each an extra, and offline.",
        show_default="tensorboard, if installed",
    ),
]
DryRun = Annotated[
    bool,
    run("--dry-run", help="Validate, show what would be done, and do nothing."),
]
Fit = Annotated[
    bool,
    device("--fit", help="Change the config by the least that makes it fit the free memory."),
]
Device = Annotated[str, device("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Devices = Annotated[
    int,
    device("--devices", min=1, metavar="N", help="Processes on this machine, one a GPU."),
]
MaxRestarts = Annotated[
    int,
    device(
        "--max-restarts",
        min=0,
        metavar="N",
        help="Restarts from the last state when a process of --devices is killed.",
    ),
]
Arithmetic = Literal["auto", "bf16", "fp16", "fp32"]
Precision = Annotated[
    Arithmetic | None,
    device(
        "--precision",
        help="Arithmetic; auto is bf16 where it is faster.",
        show_default="the preset's",
    ),
]
Json = Annotated[bool, output("--json", help="Print exactly one JSON object on stdout.")]
Quiet = Annotated[bool, output("--quiet", help="Print results and errors only.")]
Require = Annotated[
    list[str] | None,
    output("--require", metavar="'top1>=0.85'", help="Exit 5 unless the metric holds. Repeatable."),
]
