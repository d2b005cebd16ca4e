{
 "algorithm": "ed25519",
 "key": "db0c640f253b989b",
 "sha256": "45343aa4b8b0ee5c24c38c461680ec9c9fb41995f98ed6f0008a1ce01f1f3d60",
 "contract": "1",
 "kind": "detector",
 "release": 4,
 "signature": "Q4fcCiLAn7TF9wehamI5wG5Ne6V/Md9c35MUjo4c/piUX09OlKaKOTGUDv23ES6ODv3Ei2MxwqCKjj85Ha0iCg=="
}
