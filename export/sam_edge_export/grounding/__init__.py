"""OWL-ViT and OWLv2 from Hugging Face directories to grounding bundles."""
