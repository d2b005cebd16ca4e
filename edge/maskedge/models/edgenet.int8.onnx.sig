{
 "algorithm": "ed25519",
 "key": "7f828a359260b50b",
 "sha256": "93603e06e392b5028b68b6a29129b00947ceedf359441c459e90753771a32159",
 "contract": "1",
 "kind": "classifier",
 "release": 4,
 "signature": "vGjVEIPkmL2BEX5Q4Ekf685JPRyGovV1zs7i19/SQeoZ0KSGBOJv10a4/R9kde6/Mrsq1m3bOBlMEy2ZrNlRAA=="
}
