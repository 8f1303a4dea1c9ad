"""The event hub: events, subscriptions on them, and the connection to the server that carries them."""
