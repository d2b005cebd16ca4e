"""Video files that grow by whole pieces and stay readable if the program is killed."""
