"""The parts of `recsys-mtl promote`: gate, evidence, decision, lock, the moves of aliases."""
