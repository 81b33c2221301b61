"""Configs: typed, read from YAML with overrides, all mistakes reported at once."""

from recsys_mtl.config.check import label_of
from recsys_mtl.config.load import (
    config_from_mapping,
    config_from_yaml,
    config_hash,
    dump_config,
    load_config,
    read_text,
    section_from_yaml,
)
from recsys_mtl.config.schema import Config
from recsys_mtl.config.section import Section

__all__ = [
    "Config",
    "Section",
    "config_from_mapping",
    "config_from_yaml",
    "config_hash",
    "dump_config",
    "label_of",
    "load_config",
    "read_text",
    "section_from_yaml",
]
