"""The engine of studies: many paired trainings from one plan, resumed, compared and reported.

    run.Study, run_study    what a kind of study defines, and what runs it
    unit.Unit               a training, by what names it, and the file of its result
    plan.SeedsConfig        the seeds of a plan
    plan.held_plan          the plan that a folder was begun for

`ablate` and `reproduce` run on it. A kind of study defines its units, how one is trained and
what their results show together. The engine keeps every result as a file of its own, trains what is
missing in worker processes, and writes report and result.json.
"""
