{
 "algorithm": "ed25519",
 "key": "db0c640f253b989b",
 "sha256": "bff802a95cfa124ec95954c1708f0d7a35ef46cb018b8ce8f197b990d9cada37",
 "contract": "1",
 "kind": "classifier",
 "release": 4,
 "signature": "RMckG57O4VYfu/vPV9G8pSbliS+UHIt08Wmic4EsXuHXLX6oPQTsqkRk5wJlSNtF2OLVcbGVi7GEqCrvF42YAw=="
}
