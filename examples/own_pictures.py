"""Clusters of your own pictures, without a sweep: python examples/own_pictures.py FOLDER CLUSTERS [KEY=VALUE...]."""

import sys
from pathlib import Path

import mixem

folder, clusters, *changes = sys.argv[1:]
Path("pictures.yaml").write_text(f"preset: image_folder\ndata: {{root: {folder}}}\nmodel: {{components: {clusters}}}\n")
config = mixem.load_config("pictures.yaml", changes)  # such as model.start=imagenet, or train.epochs=10
trial = mixem.train(config, "runs/pictures")  # the base encoder first; goes on where it was interrupted

model = mixem.load_model(trial.path)
pictures = sorted(Path(folder).rglob("*.png"))
for path, cluster in zip(pictures, model.predict(pictures).cluster, strict=True):
    print(cluster, path)
