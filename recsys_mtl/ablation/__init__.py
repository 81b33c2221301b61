"""Arms by seeds from one YAML: what each unit trains, and what the differences say."""
