"""Scoring with a trained model: raw rows from files to predictions, and the model as a program.

    model.find_model     the model of a run's folder or of `models:/NAME@champion`
    predict.predict      every row of the input into one Parquet file or a folder of parts, in
                         bounded memory, with `job.Options`; measures drift
    export.export        the network as a torch.export program

The other modules are the steps of a scoring: `rows` opens and checks, `stream` predicts chunk by
chunk, `folder` stores the parts, `tally` and `drift` count and compare. Each imports what it needs;
this package alone imports nothing.
"""
