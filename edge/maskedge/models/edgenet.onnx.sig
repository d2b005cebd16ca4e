{
 "algorithm": "ed25519",
 "key": "db0c640f253b989b",
 "sha256": "1cbdc7713d9d6a63201c6114be2f688500856db452f72b07d01cd99cf844378d",
 "contract": "1",
 "kind": "classifier",
 "release": 4,
 "signature": "Vrt9EtX+HzO6bvhsX7xRa1PycuPPHFkUX3w2iy7iVmSiK/8u03L47/islQ0K/FKU00I+lJfUb33YijwLhdUhAg=="
}
