{
 "algorithm": "ed25519",
 "key": "703caa6d7fec7ae6",
 "sha256": "c3e8a655673aa2efac63b63ca58ee1e30ec89caf4f55ccb9ba562bd5f252d8d4",
 "contract": "1",
 "kind": "classifier",
 "release": 1,
 "signature": "CWSx3kfpnW/4fAOXWltMUwd6pPykzTc4YOWmxzsZ99SHgbn2Y7/oNPFYS3KdZ+2Ru4mhKbUnRTPQaEh0XfD6CA=="
}
