"""Tracking of faces from frame to frame, and the events that follow from it.

- `tracker`: `FaceTracker` and `Track`: identities, re-identification, the label vote.
- `optical_flow`: movement of faces between detections.
- `appearance`: descriptors of faces, for re-identification.
- `elapsed`: seconds between frames, from any time stamps.
- `transitions`: `ChangeWatcher`: faces that appear, leave or change their label, as events.
"""
