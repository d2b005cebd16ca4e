{
 "algorithm": "ed25519",
 "key": "7f828a359260b50b",
 "sha256": "d602bf93d97f3ce3e7b8437c57a3ca3065b614233d34b12591e3d7fc153525cb",
 "contract": "1",
 "kind": "classifier",
 "release": 4,
 "signature": "Eg82tNBp5N4Ij+n+H4zBAlYAGuyIeRBLhRP8pAkYNFZOifgqxtxmY003yLe6Y+KAl5kJYi3NEPVHDkkY+R6/Cw=="
}
