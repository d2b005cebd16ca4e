{
 "algorithm": "ed25519",
 "key": "703caa6d7fec7ae6",
 "sha256": "e02a25eed05ed68c3c42fea370bc0c7166b0910df779ddf687e1b5afebb624bf",
 "contract": "1",
 "kind": "classifier",
 "release": 1,
 "signature": "ecOuDBTg1Slhzzp7fv+OykbHlbEj2LijDozCWN6AHH4Pg+6adDNphyEWG8vqxRcqUFs16g74W/6VbfdP3cy7DA=="
}
