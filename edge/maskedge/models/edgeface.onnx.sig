{
 "algorithm": "ed25519",
 "key": "db0c640f253b989b",
 "sha256": "3f5fbbf0c70131f606270014e679dd31c0f2e3bd3345a2c11080b0811e0bcd99",
 "contract": "1",
 "kind": "detector",
 "release": 4,
 "signature": "xkjwaU2uoAMA/NF73allMi2TJt0DUyFd7oBDDX0K9W1b0GIJZWQ7tP/ZpLn8KZ/8TD0VS3riY9vLdVoUUcBBAQ=="
}
