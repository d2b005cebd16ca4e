"""The interactive page of `edge-app` (extra `app`). Streamlit is imported in here and nowhere else."""
