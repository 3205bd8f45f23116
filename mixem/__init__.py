"""MIX'EM: unsupervised image classification using a mixture of embeddings (Varamesh & Tuytelaars, 2020).

The method, alone: configuration, datasets, augmentation, model, losses, training, scores. It knows nothing of
Ray, Optuna, pandas or matplotlib. Importing this package imports no torch, so that configurations can be read
cheaply; import the modules you need.
"""

__version__ = "0.2.0.dev0"
