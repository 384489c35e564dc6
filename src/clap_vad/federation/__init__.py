"""Messages with declared schemas, sites, the coordinator driver, checkpoints, the ledger."""
