"""What knows tensors and pictures, and nothing of time, sockets or people."""

import os

# ONNX Runtime's own builds report to their makers, and leave a database in the user's cache folder
# (since 1.32 on Linux too).  A program that hears people does not: this is looked at when the
# runtime is first imported, so it must be set here.  Whoever sets it otherwise is left alone.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
