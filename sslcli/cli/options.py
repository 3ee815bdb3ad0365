"""Options that several commands share: the same word means the same thing everywhere."""

from typing import Annotated

from typer import Argument, Option

Checkpoint = Annotated[
    str, Argument(metavar="CKPT", help="A checkpoint.safetensors or a run directory.")
]
Data = Annotated[
    str | None,
    Option("--data", help="digits, a torchvision set, a folder, a .tar or pattern, a .csv."),
]
Test = Annotated[str | None, Option("--test", help="Held-out data, when --data has no test part.")]
DataRoot = Annotated[
    str | None, Option("--data-root", help="Folder of torchvision's data sets [data].")
]
Download = Annotated[bool, Option("--download", help="Allow a torchvision set to be fetched.")]
Set = Annotated[
    list[str] | None,
    Option("--set", metavar="KEY=VALUE", help="Change any field; a TOML value. Repeatable."),
]
Seed = Annotated[int | None, Option("--seed", min=0, help="Decides every random choice.")]
Seeds = Annotated[
    str | None, Option("--seeds", metavar="0-4", help="Repeat over seeds; mean, deviation and n.")
]
Device = Annotated[str, Option("--device", help="auto, cpu, cuda or cuda:N.")]
Precision = Annotated[str | None, Option("--precision", help="auto, bf16, fp16 or fp32.")]
MaxTime = Annotated[
    str | None,
    Option("--max-time", metavar="3h55m", help="Save the state, stop and exit 75 after this long."),
]
DryRun = Annotated[
    bool, Option("--dry-run", help="Validate, show what would be done, and do nothing.")
]
Json = Annotated[bool, Option("--json", help="Print exactly one JSON object on stdout.")]
Quiet = Annotated[bool, Option("--quiet", help="Print results and errors only.")]
Require = Annotated[
    list[str] | None,
    Option("--require", metavar="'top1>=0.85'", help="Exit 5 unless the metric holds. Repeatable."),
]
Overwrite = Annotated[bool, Option("--overwrite", help="Replace what is already there.")]
