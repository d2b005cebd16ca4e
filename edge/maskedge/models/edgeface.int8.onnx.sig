{
 "algorithm": "ed25519",
 "key": "7f828a359260b50b",
 "sha256": "45343aa4b8b0ee5c24c38c461680ec9c9fb41995f98ed6f0008a1ce01f1f3d60",
 "contract": "1",
 "kind": "detector",
 "release": 4,
 "signature": "EeqEAZsE11FQiaiT6BLYGYLIC1bc59QHobXdpDfgMVjXypvUnFk+9BwM1KSHYhvhYcvpQiIWao7Fdu28f2e6Cw=="
}
