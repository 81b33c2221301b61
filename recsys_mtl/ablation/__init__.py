"""Arms by seeds from one YAML: what each unit trains, and what the differences show.

    plan.load_ablation    the plan: a base config, arms and seeds
    arms.READY            the ready-made arms: methods and controls
    ablate.ablate         trains what is missing, compares with the reference, reports

It is a study (`recsys_mtl.study`): `unit` trains an arm on the data of a `seed`, `summary` and
`affinity` compare, `report` shows.
"""
