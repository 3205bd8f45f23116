"""Which cluster new pictures are in, the surest first: python examples/predict.py MODEL PICTURE..."""

import sys

import mixem

model = mixem.load_model(sys.argv[1])
where = model.predict(sys.argv[2:])
for i in where.margin.argsort()[::-1]:
    print(f"{sys.argv[2 + i]}: cluster {where.cluster[i]}, margin {where.margin[i]:.3f}")
