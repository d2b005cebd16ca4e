{
 "algorithm": "ed25519",
 "key": "7f828a359260b50b",
 "sha256": "efab2bb967dd038661809ba2922696bd74b74775cb62958734db05e5a5130815",
 "contract": "1",
 "kind": "cascade",
 "release": 4,
 "signature": "VzmEjfaDOm4H5k/8fXRUt5bRFvZhUX8JbrksUzWAZ4+2IBj1xl4KMGviKA7qqbethYAnd/j2ET29sU2nWPDODw=="
}
