"""The foundation of the package: MXNet, arrays, random keys, files, signals, C and CUDA engines."""
