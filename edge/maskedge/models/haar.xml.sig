{
 "algorithm": "ed25519",
 "key": "703caa6d7fec7ae6",
 "sha256": "efab2bb967dd038661809ba2922696bd74b74775cb62958734db05e5a5130815",
 "contract": "1",
 "kind": "cascade",
 "release": 3,
 "signature": "8DxuOfEIO6e0mH2OfYhEXgTiDy1Ofw3WuQCaSC5IwxYBly3pESqB7Egm0DFb8XLlhctas1JArfEJo3aAbdu9Cg=="
}
