{
 "algorithm": "ed25519",
 "key": "7f828a359260b50b",
 "sha256": "3f5fbbf0c70131f606270014e679dd31c0f2e3bd3345a2c11080b0811e0bcd99",
 "contract": "1",
 "kind": "detector",
 "release": 4,
 "signature": "eIRLM1GCKrbLwodpVv5CMM5p0Gs20rxfaWN8GgqJ61wppbCpLpRP6y64Jba2jrF5odM0IQzcqMMKHuElicbqBQ=="
}
