"""A loop over tasks that reads what the query did not ask for: how many calls does it make?"""

import client


def main():
    server = client.CannedServer()
    session = client.open_session(server)
    server.prepare("5", 100)
    before = server.calls
    names = [task["status"]["name"] for task in session.query(server.query("5"))]
    assert len(names) == 100, names
    assert names[7] == "status 1", names[:10]
    client.report(calls=server.calls - before)


main()
