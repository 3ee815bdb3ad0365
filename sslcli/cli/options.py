"""Options that several commands share: the same word means the same thing everywhere."""

from typing import Annotated, Literal

from typer import Argument, Option

# The groups of `--help`.
WHAT, DATA, RUN, DEVICE, OUTPUT = "What to do", "Data", "Run", "Device", "Output"

Checkpoint = Annotated[
    str, Argument(metavar="CKPT", help="A checkpoint.safetensors or a run directory.")
]
Method = Annotated[
    str | None,
    Option(
        "--method",
        help="A paper, or your own path/to/file.py:Class; picks the preset for the data.",
        rich_help_panel=WHAT,
    ),
]
Code = Annotated[
    str | None,
    Option(
        "--method",
        metavar="FILE.py:CLASS",
        help="Where the class lies that the checkpoint names: that code may then run.",
        rich_help_panel=WHAT,
    ),
]
Preset = Annotated[
    str | None,
    Option(
        "--preset",
        help="method/setting, see `ssl presets list`, or a .toml file.",
        rich_help_panel=WHAT,
    ),
]
ConfigFile = Annotated[
    str | None,
    Option(
        "--config",
        metavar="FILE",
        help="A .toml laid over the preset, such as a run's config.toml.",
        rich_help_panel=WHAT,
    ),
]
Data = Annotated[
    str | None,
    Option(
        "--data",
        help="digits, a torchvision set, a folder, a .tar or pattern, a .csv.",
        rich_help_panel=DATA,
    ),
]
Test = Annotated[
    str | None,
    Option("--test", help="Held-out data, when --data has no test part.", rich_help_panel=DATA),
]
DataRoot = Annotated[
    str | None,
    Option(
        "--data-root",
        help="Folder of torchvision's data sets.",
        show_default="the preset's",
        rich_help_panel=DATA,
    ),
]
Download = Annotated[
    bool,
    Option("--download", help="Allow a torchvision set to be fetched.", rich_help_panel=DATA),
]
Set = Annotated[
    list[str] | None,
    Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change any field of the config; a TOML value. Repeatable.",
        rich_help_panel=WHAT,
    ),
]
Seed = Annotated[
    int | None,
    Option("--seed", min=0, help="Decides every random choice.", rich_help_panel=WHAT),
]
Seeds = Annotated[
    str | None,
    Option(
        "--seeds",
        metavar="0-4",
        help="Repeat over seeds; mean, deviation and n.",
        rich_help_panel=WHAT,
    ),
]
Resume = Annotated[
    bool,
    Option("--resume", help="Go on from the run's newest whole state.", rich_help_panel=RUN),
]
MaxTime = Annotated[
    str | None,
    Option(
        "--max-time",
        metavar="3h55m",
        help="Save the state, stop and exit 75 after this long.",
        rich_help_panel=RUN,
    ),
]
Overwrite = Annotated[
    bool, Option("--overwrite", help="Replace what is already there.", rich_help_panel=RUN)
]
DryRun = Annotated[
    bool,
    Option(
        "--dry-run",
        help="Validate, show what would be done, and do nothing.",
        rich_help_panel=RUN,
    ),
]
Device = Annotated[
    str, Option("--device", help="auto, cpu, cuda or cuda:N.", rich_help_panel=DEVICE)
]
Devices = Annotated[
    int,
    Option(
        "--devices",
        min=1,
        metavar="N",
        help="Processes on this machine, one a GPU.",
        rich_help_panel=DEVICE,
    ),
]
MaxRestarts = Annotated[
    int,
    Option(
        "--max-restarts",
        min=0,
        metavar="N",
        help="Restarts from the last state when a process of --devices is killed.",
        rich_help_panel=DEVICE,
    ),
]
Arithmetic = Literal["auto", "bf16", "fp16", "fp32"]
Precision = Annotated[
    Arithmetic | None,
    Option(
        "--precision",
        help="Arithmetic; auto is bf16 where it is faster.",
        show_default="the preset's",
        rich_help_panel=DEVICE,
    ),
]
Json = Annotated[
    bool, Option("--json", help="Print exactly one JSON object on stdout.", rich_help_panel=OUTPUT)
]
Quiet = Annotated[
    bool, Option("--quiet", help="Print results and errors only.", rich_help_panel=OUTPUT)
]
Require = Annotated[
    list[str] | None,
    Option(
        "--require",
        metavar="'top1>=0.85'",
        help="Exit 5 unless the metric holds. Repeatable.",
        rich_help_panel=OUTPUT,
    ),
]
