"""A paper's study from one YAML: its methods on its data, their numbers next to the published."""
