"""An extension of each kind, in one small file each: what CONTRIBUTING describes, run by tests/test_extensions.py."""
