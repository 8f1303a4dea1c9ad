"""The event hub's server side: Socket.IO 0.9 over WebSocket, routing, ``ftrack.update``."""
