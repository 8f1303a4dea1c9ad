"""Entity types of the sandbox: the model, the declarations and the tables they stand on."""
