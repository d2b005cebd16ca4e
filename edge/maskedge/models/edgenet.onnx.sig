{
 "algorithm": "ed25519",
 "key": "703caa6d7fec7ae6",
 "sha256": "694e7a0bdf4b8f601e44d1b1a125f556dd5b9769614f6d4278677e131c6636d3",
 "contract": "1",
 "kind": "classifier",
 "release": 2,
 "signature": "4CnpLDWVcmLHwRiGx4l0g7vrlJr5p5nFz0M4b/LJXwm+UXly7yfybASYpdi7OVbJLc5pVWJM3VUtPsltuANlAg=="
}
