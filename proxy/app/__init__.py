"""The composition root: Settings in, one running sidecar out. The only room that knows every room.

``sidecar.py`` puts it together and keeps it alive; ``foundation.py`` is what all parts stand on, ``doors.py`` where
requests come in and go out. Whoever asks what depends on what opens these.
"""

from proxy.app.sidecar import Sidecar

__all__ = ["Sidecar"]
