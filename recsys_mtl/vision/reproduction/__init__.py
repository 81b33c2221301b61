"""A paper's study from one YAML: its methods on its data, their numbers next to the published.

    load.load_reproduction    a ready plan by its name, or a YAML file
    reproduce.reproduce       trains what is missing, compares, reports

It is a study (`recsys_mtl.study`): `recipe` names the units, `fit` trains one, `methods` and
`summary` compare, `tables`, `figures` and `report` show.
"""
