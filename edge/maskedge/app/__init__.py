"""The web app of `edge-app` (extra `app`). Streamlit is imported in this package only."""
