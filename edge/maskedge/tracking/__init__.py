"""Tracking of faces from frame to frame, and the events of faces.

- `track`: `Track`: one face over time, and the vote on its label.
- `tracker`: `FaceTracker`: identities and re-identification.
- `motion_gate`: `MotionGate`: the parts of a picture that a detection must search.
- `optical_flow`: movement of faces between detections.
- `appearance`: descriptors of faces, for re-identification.
- `elapsed`: seconds between frames.
- `lines`: `LineCounter`: people who cross a line, counted by direction and label.
- `transitions`: `ChangeWatcher`: faces that appear, leave or change their label, as events.
"""
