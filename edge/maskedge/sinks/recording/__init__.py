"""Video files that grow by complete pieces and stay readable if the program is killed."""
