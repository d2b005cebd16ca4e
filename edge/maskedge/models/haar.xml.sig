{
 "algorithm": "ed25519",
 "key": "db0c640f253b989b",
 "sha256": "efab2bb967dd038661809ba2922696bd74b74775cb62958734db05e5a5130815",
 "contract": "1",
 "kind": "cascade",
 "release": 4,
 "signature": "JkCf/TqBL7hAX+H0HdRF1r/2kz3/Mo0bQLEkrTdIpTpatmrZeFwf72stLOemNHDPjfNtd4HORRt6zVm8JlAYDw=="
}
