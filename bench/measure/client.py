"""What the measuring scripts share; they run with our client and with the official one, unchanged.

Each script is called as ``python <script>.py ours|official <folder with the canned answers> [scale]`` and
prints one JSON object: the name of each measurement and its value.
"""

from __future__ import annotations

import gc
import json
import re
import statistics
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

CLIENT = sys.argv[1]
IS_OURS = CLIENT == "ours"
FOLDER = Path(sys.argv[2])
SCALE = float(sys.argv[3]) if len(sys.argv) > 3 else 1.0

if IS_OURS:
    from ftrackd.api import alias

    alias.install()

import ftrack_api  # noqa: E402
import requests  # noqa: E402


def report(**values):
    """Print the measurements, as JSON."""
    print(json.dumps(values))


def per_call(function):
    """Return the seconds that one call takes: the best of a few series, each long enough to be timed."""
    return each_per_call(function)[0]


def each_per_call(*functions, repeat=7, budget_s=0.25):
    """Return the seconds that one call of each function takes, as :func:`per_call`.

    Their series take turns: what is compared meets the same moments of the machine.
    """
    counts = [_count_of(function, budget_s / repeat / 2) for function in functions]
    series = [
        [_series(function, count) / count for function, count in zip(functions, counts, strict=True)]
        for _ in range(repeat)
    ]
    return [min(times) for times in zip(*series, strict=True)]


def _count_of(function, least_s):
    """Return how many calls take as long as is needed to time them."""
    function()
    count = 1
    while _series(function, count) <= least_s:
        count *= 2
    return count


def _series(function, count):
    begun = time.perf_counter()
    for _ in range(count):
        function()
    return time.perf_counter() - begun


def once(function):
    """Return the seconds of processor time that one call takes, with the garbage of others out of the way."""
    gc.collect()
    begun = time.process_time()
    result = function()
    return time.process_time() - begun, result


def median_of(function, count):
    """Return the median of `count` measurements that `function` makes."""
    return statistics.median(function() for _ in range(count))


# Canned answers: the same bytes for both clients, and no server whose time would be measured too.

_SIMPLE = ("name", "status_id", "type_id", "bid", "description")
_MORE = (
    *_SIMPLE,
    "created_at",
    "created_by_id",
    "start_date",
    "end_date",
    "priority_id",
    "parent_id",
    "sort",
    "thumbnail_id",
    "project_id",
    "object_type_id",
    "context_type",
    "is_open",
    "time_logged",
    "bid_time_logged_difference",
    "_link",
)
PROJECTIONS = {
    "5": _SIMPLE,
    "20": _MORE,
    "nested": ("name", "status.name", "parent.name", "project.name"),
}


def identifier(kind, number):
    """Return the identifier of a canned entity."""
    return f"{kind:0>8}-0000-4000-8000-{number:012x}"


def _task(number, projections):
    row = {
        "__entity_type__": "Task",
        "id": identifier("7a5c", number),
        "project_id": identifier("9906", number % 3),
        "context_type": "task",
        "object_type_id": "11c137c0-ee7e-4f9c-91c5-8c77cec22b2c",
    }
    values = {
        "name": f"task_{number:05d}",
        "status_id": identifier("57a7", number % 6),
        "type_id": identifier("79e0", number % 9),
        "bid": 3600.0 * (number % 40),
        "description": f"Something to be done, number {number}",
        "created_at": {"__type__": "datetime", "value": f"2025-03-{number % 28 + 1:02d}T10:20:30"},
        "created_by_id": identifier("05e4", number % 12),
        "start_date": {"__type__": "datetime", "value": f"2025-04-{number % 28 + 1:02d}T00:00:00"},
        "end_date": {"__type__": "datetime", "value": f"2025-05-{number % 28 + 1:02d}T00:00:00"},
        "priority_id": identifier("9410", number % 4),
        "parent_id": identifier("5407", number // 10),
        "sort": float(number),
        "thumbnail_id": None,
        "is_open": None,
        "time_logged": 60.0 * number,
        "bid_time_logged_difference": 1.5 * number,
        "_link": [{"type": "Project", "id": identifier("9906", number % 3), "name": "project"}],
    }
    for projection in projections:
        head, _, rest = projection.partition(".")
        if not rest:
            if head in values:
                row[head] = values[head]
        elif head == "status":
            row["status"] = {
                "__entity_type__": "Status",
                "id": values["status_id"],
                rest: f"status {number % 6}",
            }
        elif head == "project":
            row["project"] = {
                "__entity_type__": "Project",
                "id": row["project_id"],
                "context_type": "show",
                rest: f"project {number % 3}",
            }
        elif head == "parent":
            row["parent"] = {
                "__entity_type__": "Shot",
                "id": values["parent_id"],
                "context_type": "task",
                "project_id": row["project_id"],
                "object_type_id": "bad911de-3bd6-47b9-8b46-3476e237cb36",
                rest: f"shot {number // 10}",
            }
    return row


class CannedServer:
    """Answers requests in the place of the network; `calls` counts them."""

    def __init__(self):
        self.calls = 0
        self.task_count = 0
        self.pages = {}
        self.information = json.loads((FOLDER / "information.json").read_bytes())
        self.schemas = (FOLDER / "schemas.json").read_bytes()
        server = self

        def send(adapter, request, **options):
            return server.answer(request)

        requests.adapters.HTTPAdapter.send = send

    def prepare(self, name, count):
        """Make the pages of a query of `count` tasks with the projections `name`; return their bytes."""
        self.task_count = count
        text = ", ".join(PROJECTIONS[name])
        for offset in range(0, count, 500):
            end = min(offset + 500, count)
            rows = [_task(number, PROJECTIONS[name]) for number in range(offset, end)]
            following = end if end < count else None
            answer = [{"action": "query", "data": rows, "metadata": {"next": {"offset": following}}}]
            self.pages[text, offset] = json.dumps(answer).encode()
        return [self.pages[text, offset] for offset in range(0, count, 500)]

    def query(self, name):
        """Return the text of a prepared query."""
        return f"select {', '.join(PROJECTIONS[name])} from Task"

    def answer(self, request):
        """Return the response to a request."""
        self.calls += 1
        response = requests.Response()
        response.status_code = 200
        response.request = request
        response.url = request.url
        response.encoding = "utf-8"
        response.headers["content-type"] = "application/json"
        response._content = self._content(json.loads(request.body))
        return response

    def _content(self, operations):
        action = operations[0]["action"]
        if action == "query":
            found = re.match(r"select (.*?) from Task\b(?:.*? offset (\d+))?", operations[0]["expression"])
            page = self.pages.get((found[1], int(found[2] or 0))) if found else None
            if page is not None:
                return page
        return b"[" + b",".join(self._result(operation) for operation in operations) + b"]"

    def _result(self, operation):
        action = operation["action"]
        if action == "query_schemas":
            return self.schemas
        if action == "query_server_information":
            return json.dumps(self.information).encode()
        if action == "query":
            return json.dumps(self._small_query(operation["expression"])).encode()
        if action == "create":
            data = {**operation["entity_data"]}
            return json.dumps({"action": "create", "data": data}).encode()
        if action == "update":
            (key,) = operation["entity_key"]
            data = {**operation["entity_data"], "__entity_type__": operation["entity_type"], "id": key}
            return json.dumps({"action": "update", "data": data}).encode()
        raise AssertionError(f"no canned answer for {operation}")

    def _small_query(self, expression):
        if " from Location" in expression or " from Setting" in expression:
            rows = []
        elif re.search(r"\bfrom (Status|status)\b", expression) or expression.startswith("Status"):
            numbers = sorted({int(match[-12:], 16) for match in re.findall(r"[0-9a-f-]{36}", expression)})
            rows = [
                {"__entity_type__": "Status", "id": identifier("57a7", number), "name": f"status {number}"}
                for number in numbers
            ]
        else:
            numbers = [int(match[-12:], 16) for match in re.findall(r"0{4}7a5c-[0-9a-f-]{27}", expression)]
            rows = [
                {
                    **_task(number, ("status_id",)),
                    "status": {"__entity_type__": "Status", "id": identifier("57a7", number % 6)},
                }
                for number in numbers
            ]
        return {"action": "query", "data": rows, "metadata": {"next": {"offset": None}}}


def open_session(server, **options):
    """Return a Session on the canned answers."""
    cache = FOLDER / f"cache-{CLIENT}"
    cache.mkdir(exist_ok=True)
    return ftrack_api.Session(
        server_url="http://canned.invalid",
        api_user="anna",
        api_key="key",
        plugin_paths=[],
        auto_connect_event_hub=False,
        schema_cache_path=str(cache),
        **options,
    )
