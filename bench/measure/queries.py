"""Querying tasks: 5 and 20 attributes, nested names, the same again, four times as many; memory."""

import gc
import json
import tracemalloc

import client


def _measure(server, name, count, again=False):
    pages = server.prepare(name, count)
    decode = client.median_of(lambda: client.once(lambda: [json.loads(page) for page in pages])[0], 3)
    session = client.open_session(server)
    expression = server.query(name)
    first, tasks = client.once(lambda: session.query(expression).all())
    assert len(tasks) == count, len(tasks)
    values = {f"query_{name}_{count}": first, f"decode_{name}_{count}": decode}
    if again:
        values[f"again_{name}_{count}"], _ = client.once(lambda: session.query(expression).all())
        task = tasks[len(tasks) // 2]
        task["name"]
        values["read"] = client.per_call(lambda: task["name"])
    session.close()
    return values


def _memory(server, name, count):
    pages = server.prepare(name, count)
    session = client.open_session(server)
    expression = server.query(name)
    session.query(f"{expression} limit 1")
    gc.collect()
    tracemalloc.start()
    plain = [row for page in pages for row in json.loads(page)[0]["data"]]
    gc.collect()
    plain_size = tracemalloc.get_traced_memory()[0]
    del plain
    gc.collect()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    tasks = session.query(expression).all()
    gc.collect()
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(tasks) == count
    session.close()
    return {f"memory_{name}": size / count, f"plain_{name}": plain_size / count}


def main():
    server = client.CannedServer()
    client.open_session(server).close()
    count = round(5000 * client.SCALE)
    values = {}
    values |= _measure(server, "5", count, again=True)
    values |= _measure(server, "20", count)
    values |= _measure(server, "nested", count)
    values |= _measure(server, "5", 4 * count)
    values |= _memory(server, "5", count)
    values |= _memory(server, "20", count)
    values = {
        name.replace(f"_{4 * count}", "_more").replace(f"_{count}", ""): value
        for name, value in values.items()
    }
    client.report(**values)


main()
