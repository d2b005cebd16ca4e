"""Video files that are written in complete pieces and stay readable if the program is killed."""
