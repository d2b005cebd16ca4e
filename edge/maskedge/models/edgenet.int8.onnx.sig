{
 "algorithm": "ed25519",
 "key": "703caa6d7fec7ae6",
 "sha256": "9f46d18f08ddfa4919fa786496c2c818abe6d4d3cc93ed5d3d9b24011e2a2722",
 "contract": "1",
 "kind": "classifier",
 "release": 3,
 "signature": "Z8BOy4xu+4D23zALt5hyDxLDviYWT9nXtRHZQl1lffSNGlJZL6xXV2T0dmTxIiJ267QtaCeEhajt+bWO6nmlCg=="
}
