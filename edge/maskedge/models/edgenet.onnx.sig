{
 "algorithm": "ed25519",
 "key": "db0c640f253b989b",
 "sha256": "6521a8dab9bb1147590fea9f87059b899276e221a0595ea8c0ce82846f742d29",
 "contract": "1",
 "kind": "classifier",
 "release": 4,
 "signature": "fuiPWRK9iylS2+p8BQqBnXx4dfcYegx5F6VLKSdhqYxkkvFAUMGxkGtZyk4H2/KMCTze5VsZ0Hk9+kzq4mrHCw=="
}
