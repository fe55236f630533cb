"""The three ports of operators: health, metrics, admin."""

from proxy.admin.server import AdminHandlers
from proxy.admin.settings import AdminSettings
from proxy.control.server import ControlServer, Handler
from proxy.net.deadlines import Deadlines
from proxy.net.tasks import Tasks
from proxy.net.transport import Transports


class AdminPorts:
    """Open from ``start`` to ``close``."""

    def __init__(self, transports: Transports, tasks: Tasks, deadlines: Deadlines) -> None:
        self._transports = transports
        self._tasks = tasks
        self._deadlines = deadlines
        self._servers: list[ControlServer] = []

    async def start(self, settings: AdminSettings, handlers: AdminHandlers) -> dict[str, int]:
        """Open all three and give their ports by name. Raises ListenFailed."""
        return {
            "health": await self._serve("health", handlers.on_health, settings.health_host, settings.health_port),
            "metrics": await self._serve("metrics", handlers.on_metrics, settings.metrics_host, settings.metrics_port),
            "admin": await self._serve("admin", handlers.on_admin, settings.admin_host, settings.admin_port),
        }

    async def _serve(self, name: str, handler: Handler, host: str, port: int) -> int:
        server = ControlServer(self._transports, self._tasks, self._deadlines, handler, name=name)
        bound = await server.start(host, port)
        self._servers.append(server)
        return bound

    async def close(self) -> None:
        """Close those that are open."""
        for server in self._servers:
            await server.close()
