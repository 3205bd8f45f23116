"""Clusters of your own pictures, without a sweep: python examples/own_pictures.py FOLDER CLUSTERS [KEY=VALUE...]."""

import sys
from pathlib import Path

import mixem
from mixem.predict import walk

folder, clusters, *changes = sys.argv[1:]  # changes such as model.start=imagenet, or train.epochs=10
Path("pictures.yaml").write_text("preset: image_folder\n")
config = mixem.load_config("pictures.yaml", [f"data.root={folder}", f"model.components={clusters}", *changes])
trial = mixem.train(config, "runs/pictures")  # the base encoder first; goes on where it was interrupted

model = mixem.load_model(trial.path)
pictures = sorted(walk([Path(folder)]))
for path, cluster in zip(pictures, model.predict(pictures).cluster, strict=True):
    print(cluster, path)
