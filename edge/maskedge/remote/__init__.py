"""Control of the device by a fleet: signed commands and signed model updates.

- `settings`: checks of the section `[fleet]`, and the name of the device in its topics.
- `verification`: reads and verifies signed commands.
- `ledger`: what must outlive the process: sequence numbers, answers, stricter privacy.
- `link`: the connection that receives commands and sends answers.
- `commands`: the commands, and what they need of the run.
- `control`: takes commands, one after the other, and answers them.
- `fleet_run`: the control as a part of a run.
- `model_download`: fetches a file over HTTPS.
- `model_store`: the updated model files on disk, in a state that survives a crash at any moment.
- `model_trial`: compares two models on the device's own frames.
- `model_update`: the update from the address to the running network, and the way back.
"""
