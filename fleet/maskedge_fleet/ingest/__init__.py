"""Messages of devices on their way into the database.

- `runner`: `run_ingest`, the whole ingest.
- `broker`: how to connect to the broker.
- `receiver`: the connection, and the queue of messages that are not in the database yet.
- `topics`: which camera, device and kind of message a topic belongs to.
- `messages`: parsing and checking.
- `writer`: writes a batch in one transaction.
- `bulk`: statements for many rows.
- `names`: numbers of devices, cameras and series.
- `reports`: alerts, answers to commands, snapshots and rejects.
"""
