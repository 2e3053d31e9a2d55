"""OpenTelemetry, where the extra `otel` is installed and the environment asks for it; else nothing, not an import.

`switch.py` decides and needs no library; `traces.py` is all that knows OpenTelemetry's; `ports.py` puts spans around
engine and sandbox.
"""
