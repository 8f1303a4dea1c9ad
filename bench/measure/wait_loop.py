"""A listener with the official client's ``wait()`` loop: how long after publishing does a callback run?

Called with the server, user and key in the environment; prints "ready", then a JSON list of seconds.
"""

import json
import os
import time
import warnings

warnings.simplefilter("ignore")

import ftrack_api.event.hub  # noqa: E402

hub = ftrack_api.event.hub.EventHub(
    os.environ["FTRACK_SERVER"], os.environ["FTRACK_API_USER"], os.environ["FTRACK_API_KEY"]
)
latencies = []
hub.subscribe("topic=bench.event", lambda event: latencies.append(time.time() - event["data"]["sent"]))
done = []
hub.subscribe("topic=bench.report", done.append)
hub.subscribe("topic=bench.ready", lambda event: print("ready", flush=True))
hub.connect()
while not done:
    hub.wait(0.5)
print(json.dumps(latencies), flush=True)
hub.disconnect()
