"""Build what a command needs from a config: the one room that knows data, networks and methods."""

from sslcli.assemble.facts import (
    INIT,
    INIT_TEXT,
    completed_section,
    data_facts,
    facts_of,
    remembered_facts,
    start_of,
)
from sslcli.assemble.models import (
    build_method,
    fresh_encoder,
    fresh_read_out,
    load_encoder,
    load_method,
    load_read_out,
    load_start_weights,
    method_read_out,
    place,
)
from sslcli.assemble.reading import (
    count_cut,
    evaluation_batch,
    features_of,
    labels_of,
    open_data,
    open_training,
    pixels_of,
    text_views,
    tokenizer_of,
)
from sslcli.assemble.texts import as_begun, settled, tokenizer_in
from sslcli.assemble.training import build_training, plan_training

__all__ = [
    "INIT",
    "INIT_TEXT",
    "as_begun",
    "build_method",
    "build_training",
    "completed_section",
    "count_cut",
    "data_facts",
    "evaluation_batch",
    "facts_of",
    "features_of",
    "fresh_encoder",
    "fresh_read_out",
    "labels_of",
    "load_encoder",
    "load_method",
    "load_read_out",
    "load_start_weights",
    "method_read_out",
    "open_data",
    "open_training",
    "pixels_of",
    "place",
    "plan_training",
    "remembered_facts",
    "settled",
    "start_of",
    "text_views",
    "tokenizer_in",
    "tokenizer_of",
]
