"""Images: adapters, backbones, the image network and the papers' plans."""
