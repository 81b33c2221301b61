"""The life of a trained model in the registry: register, promote through a gate, roll back.

    register.register    a proven model becomes a version of a registered model, with its card
    gate.load_gate       the rules of a promotion, `gate.Gate`
    promote.promote      the version of a `promote.Request` becomes the champion, if it passes
    rollback.rollback    the champion and the previous one are swapped

The other modules are the steps of a promotion: `rows` measures two models on the same labelled
rows, `evidence` and `decide` judge, `report` shows, `lock` and `commit` write without a gap. Each
imports what it needs; this package alone imports nothing.
"""
