"""The client library: Session, entities, queries, operations, event hub, locations."""
