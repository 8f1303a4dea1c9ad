"""From an interpreter that has loaded nothing to a Session with the schemas in the cache.

Called by start.py, which has written the cache; prints seconds of processor time.
"""

import time

BEGUN = time.process_time()

import client  # noqa: E402  (the import is what is measured, requests included)

loaded = time.process_time() - BEGUN
server = client.CannedServer()
seconds, session = client.once(lambda: client.open_session(server))
session.close()
client.report(seconds=loaded + seconds)
