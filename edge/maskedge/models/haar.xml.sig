{
 "algorithm": "ed25519",
 "key": "703caa6d7fec7ae6",
 "sha256": "efab2bb967dd038661809ba2922696bd74b74775cb62958734db05e5a5130815",
 "contract": "1",
 "kind": "cascade",
 "release": 1,
 "signature": "SIMEu9eEg1FCwqpjKrUinsQyUE1Xm6W2DK1pjC3uZMAEA1zNp6UypbxQ92V7Kv/cYngxS4/Gfu3aLAwlYzQwCw=="
}
