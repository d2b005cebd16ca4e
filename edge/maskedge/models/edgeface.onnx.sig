{
 "algorithm": "ed25519",
 "key": "703caa6d7fec7ae6",
 "sha256": "3f5fbbf0c70131f606270014e679dd31c0f2e3bd3345a2c11080b0811e0bcd99",
 "contract": "1",
 "kind": "detector",
 "release": 3,
 "signature": "Q3u8Ja8XFm2pSd2EWhdZlBDDVHbq92cyY5p3S5I1jQ7oelyA/SpMPkCMlrihkswMjNA93IlEYL6MPgK42tsOCQ=="
}
