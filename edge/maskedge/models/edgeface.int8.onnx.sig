{
 "algorithm": "ed25519",
 "key": "703caa6d7fec7ae6",
 "sha256": "45343aa4b8b0ee5c24c38c461680ec9c9fb41995f98ed6f0008a1ce01f1f3d60",
 "contract": "1",
 "kind": "detector",
 "release": 3,
 "signature": "QCNDp/Txj+vWzWugvbGSeKGOqck4ZQXnz3R04mJG/QgMGYNlF555/6iYe0trmtfM72Ll8yfrvjFCSu/To3C6AQ=="
}
