"""What everything stands on: the door to MXNet, arrays, random keys, whole files, signals, the native engine."""
