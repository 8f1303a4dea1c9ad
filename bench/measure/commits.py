"""Creating and committing, and what a full cache does to a small commit."""

import json

import client


def _update_commit(server, count):
    session = client.open_session(server)
    server.prepare("5", count)
    tasks = session.query(server.query("5")).all()
    number = iter(range(1000))

    def update():
        tasks[0]["name"] = f"renamed {next(number)}"
        return client.once(session.commit)[0]

    seconds = client.median_of(update, 3)
    session.close()
    return seconds


def main():
    server = client.CannedServer()
    client.open_session(server).close()
    count = round(1000 * client.SCALE)
    session = client.open_session(server)

    def create():
        for number in range(count):
            session.create(
                "Task", {"name": f"task {number}", "bid": 3600.0, "status_id": client.identifier("57a7", 1)}
            )
        session.commit()

    created, _ = client.once(create)
    session.close()

    def plain():
        payload = [
            {
                "action": "create",
                "entity_type": "Task",
                "entity_key": client.identifier("7a5c", number),
                "entity_data": {
                    "__entity_type__": "Task",
                    "id": client.identifier("7a5c", number),
                    "name": f"task {number}",
                    "bid": 3600.0,
                    "status_id": client.identifier("57a7", 1),
                    "context_type": "task",
                },
            }
            for number in range(count)
        ]
        return json.loads(json.dumps(payload))

    client.report(
        create=created,
        plain=client.median_of(lambda: client.once(plain)[0], 5),
        update_1=_update_commit(server, 1),
        update_20000=_update_commit(server, round(20_000 * client.SCALE)),
    )


main()
