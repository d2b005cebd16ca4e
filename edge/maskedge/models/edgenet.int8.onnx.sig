{
 "algorithm": "ed25519",
 "key": "703caa6d7fec7ae6",
 "sha256": "00c7bf51b2b11b3c43d573fc5ded4463d0377b23f1d065dde3485cd3eeaa2d84",
 "contract": "1",
 "kind": "classifier",
 "release": 2,
 "signature": "HQDmpyRZB30tU1yPTt/pawxEVlKEyjq+1CwMg6+MaPPhrVZWUv2fK8ZuMZjwlb2TUwCBH0JxUiiitKA/ep6sAw=="
}
