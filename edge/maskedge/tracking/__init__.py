"""Tracking of faces from frame to frame, and the events of faces.

- `tracker`: `FaceTracker` and `Track`: identities, re-identification and the vote on labels.
- `optical_flow`: movement of faces between detections.
- `appearance`: descriptors of faces, for re-identification.
- `elapsed`: seconds between frames.
- `transitions`: `ChangeWatcher`: faces that appear, leave or change their label, as events.
"""
