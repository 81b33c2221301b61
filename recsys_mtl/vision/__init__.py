"""Images: the papers' studies on pictures, separate from the recommenders.

    idx, rot_mnist, celeba   adapters: official files become the `images` of a split
    backbones                networks that turn images into features, and their weights
    network, training        a backbone with one head a task, and its training step
    reproduction             a paper's methods on paired runs, with its published numbers

Combiners, statistics and reports are those of the recommenders. They do not import this
package, and no logged model holds it.
"""
