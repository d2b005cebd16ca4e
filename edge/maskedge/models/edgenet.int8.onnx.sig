{
 "algorithm": "ed25519",
 "key": "db0c640f253b989b",
 "sha256": "050b5c60667cf46f04a95a3891f33d3b7f5bbf7cfc8bbd9c0adca546b8a01011",
 "contract": "1",
 "kind": "classifier",
 "release": 4,
 "signature": "c+hkYeleDMDGAJR4WMRtObrwwycB+Z0ZbkZyDYQAIrBRO3gcH01V6DFqX1Cm+lyJYnmUgdh7xGi0HKPNb/z5Aw=="
}
