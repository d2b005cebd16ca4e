"""Control of the device from outside: signed model updates.

- `model_download`: fetches a file over HTTPS.
- `model_store`: the updated model files on disk, in a state that survives a crash at any moment.
- `model_trial`: compares two models on the device's own frames.
- `model_update`: the update from the address to the running network, and the way back.
"""
