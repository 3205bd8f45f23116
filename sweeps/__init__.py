"""The service: a sweep's file, its plan, Ray Tune around the method, the command line.

The only package that imports Ray and Optuna, and only in the modules that need them. Ray reads these settings when
it is imported, so they stand here; a value that the user has set wins.
"""

import os

for _key, _value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the progress table is ours
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # workers stay where they are
    "RAY_ENABLE_ZERO_COPY_TORCH_TENSORS": "1",  # workers of one machine share images and base weights
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # trials write their own records
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # the criterion is not measured in every epoch, nor of failed trials
    "TUNE_MAX_PENDING_TRIALS_PG": "200",  # an autoscaler is to see the demand at once; a searcher has 1, a grid 200
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is handled by the command line
}.items():
    os.environ.setdefault(_key, _value)
