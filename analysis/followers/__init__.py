"""What sends a run's metrics and results to the trackers that people have: one module a tracker."""
