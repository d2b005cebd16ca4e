{
 "algorithm": "ed25519",
 "key": "703caa6d7fec7ae6",
 "sha256": "efab2bb967dd038661809ba2922696bd74b74775cb62958734db05e5a5130815",
 "contract": "1",
 "kind": "cascade",
 "release": 2,
 "signature": "BrQl4v5BdK3Ubfy3wZtSUuqcj6iHHwH47toONrNoaE4nG/vsr5ot65EDldVa8u0P7kO0/MAUAQacPDh1yZkJCg=="
}
