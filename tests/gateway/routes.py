"""Every route that the gateway serves by default under the policies of /v1."""

from __future__ import annotations

from gateway.app import facades
from gateway.settings import GatewaySettings

ROUTES = tuple(
    route for facade in facades(GatewaySettings()) for route in facade.routes if facade.name != "openai"
)
