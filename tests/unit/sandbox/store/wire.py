"""Values as clients send them."""


def reference(entity_type, entity_id):
    return {"__entity_type__": entity_type, "id": entity_id}


def moment(text):
    return {"__type__": "datetime", "value": text}
